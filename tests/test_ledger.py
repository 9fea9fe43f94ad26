"""Nothing is lost silently: one warning, and the whole story in the ledger."""

import json
import threading

from mlflow_dlviz.ledger import Ledger


def entries(ledger):
    return json.loads(ledger.to_json())["entries"]


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_failure_is_kept_each_time_and_said_once(caplog):
    ledger = Ledger()
    for step in range(3):
        ledger.failed("visual 'mine'", step, raised(RuntimeError("my mistake")))
    assert [entry["step"] for entry in entries(ledger)] == [0, 1, 2]
    assert "RuntimeError: my mistake" in entries(ledger)[0]["traceback"]
    assert "test_ledger.py" in entries(ledger)[0]["traceback"]
    assert caplog.text.count("my mistake") == 1
    assert "visual 'mine' failed and is left out" in caplog.text


def test_another_kind_of_error_of_the_same_thing_is_said_too(caplog):
    ledger = Ledger()
    ledger.failed("it", None, raised(RuntimeError("one")))
    ledger.failed("it", None, raised(OSError("two")))
    assert "one" in caplog.text
    assert "two" in caplog.text


def test_a_reason_is_kept_and_said_once(caplog):
    ledger = Ledger()
    for _ in range(3):
        ledger.left_out("boundary", "the inputs are images")
    assert [(entry["kind"], entry["why"]) for entry in entries(ledger)] == [("left_out", "the inputs are images")]
    assert caplog.text.count("boundary is left out") == 1


def test_what_is_expected_is_kept_without_a_word(caplog):
    ledger = Ledger()
    ledger.left_out("metrics", "a regression", say=False)
    assert entries(ledger)
    assert not caplog.records


def test_status_tells_ok_partial_and_failed():
    ledger = Ledger()
    assert ledger.status == "ok"
    ledger.left_out("boundary", "does not apply")
    assert ledger.status == "ok"
    ledger.failed("it", None, ValueError("x"))
    assert ledger.status == "failed"
    ledger.count("written")
    assert ledger.status == "partial"


def test_dropped_pictures_make_it_partial():
    ledger = Ledger()
    ledger.count("written", 5)
    ledger.count("dropped")
    assert ledger.status == "partial"
    assert json.loads(ledger.to_json())["counts"] == {"written": 5, "late": 0, "dropped": 1, "failed": 0}


def test_a_long_ledger_says_how_much_it_does_not_list():
    ledger = Ledger()
    for step in range(1003):
        ledger.failed("it", step, ValueError("x"))
    document = json.loads(ledger.to_json())
    assert len(document["entries"]) == 1000
    assert document["entries_not_listed"] == 3


def test_a_long_traceback_keeps_its_end():
    def deep(n):
        return deep(n - 1) if n else 1 / 0

    ledger = Ledger()
    try:
        deep(200)
    except ZeroDivisionError as error:
        ledger.failed("it", 0, raised(ValueError("y" * 9000)))
        ledger.failed("it", 0, error)
    traceback = entries(ledger)[1]["traceback"]
    assert len(traceback) <= 4000
    assert traceback.rstrip().endswith("ZeroDivisionError: division by zero")


def test_any_text_can_be_kept():
    ledger = Ledger()
    ledger.left_out("ünï </script>\n\x00", "\u2028 'quoted'")
    assert entries(ledger)[0]["what"] == "ünï </script>\n\x00"


def test_two_threads_count_without_loss():
    ledger = Ledger()

    def work():
        for _ in range(2000):
            ledger.count("written")
            ledger.left_out("same", "same", say=False)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counts["written"] == 8000
    assert len(ledger.entries) == 1


def test_what_the_server_refuses_is_kept_each_time_and_said_once_a_cause(caplog):
    ledger = Ledger()
    for step in range(3):
        ledger.refused(
            f"metrics of epoch {step}", "MlflowException: no room for metrics in this experiment at all"
        )
    ledger.refused("the model", "another reason")
    assert [entry["what"] for entry in entries(ledger)][:2] == ["metrics of epoch 0", "metrics of epoch 1"]
    assert ledger.status == "failed"
    assert [record.getMessage().split(" was ")[0] for record in caplog.records] == [
        "mlflow_dlviz: metrics of epoch 0",
        "mlflow_dlviz: the model",
    ]


def test_epochs_without_pictures_are_not_a_failure():
    ledger = Ledger()
    ledger.count("epochs")
    ledger.failed("it", None, ValueError("x"))
    assert ledger.status == "partial"


def test_the_step_is_in_it():
    assert json.loads(Ledger().to_json(7))["step"] == 7


def test_what_an_earlier_process_wrote_goes_on():
    earlier = Ledger()
    earlier.count("written", 3)
    earlier.failed("it", 2, raised(ValueError("ü\n\ud800")))
    ledger = Ledger.from_json(earlier.to_json())
    ledger.count("written")
    assert ledger.counts["written"] == 4
    assert ledger.entries == earlier.entries
    assert ledger.status == "partial"


class Odd(Exception):
    """One whose own text fails."""

    def __str__(self):
        raise RuntimeError("no text")


def test_an_error_without_a_text_is_kept_all_the_same():
    ledger = Ledger()
    ledger.failed("it", None, raised(Odd()))
    assert ledger.entries[0].why == "Odd, whose text can't be had"
    assert ledger.status == "failed"


def test_beyond_a_thousand_entries_are_only_counted():
    ledger = Ledger()
    for epoch in range(1000):
        ledger.left_out("part of the set", f"{epoch} samples", say=False)
    assert ledger.status == "ok"
    ledger.failed("metrics", 1000, ValueError("x"))
    assert len(ledger.entries) == 1000
    assert ledger.status == "failed"
    assert json.loads(ledger.to_json())["entries_not_listed"] == 1
    ledger = Ledger.from_json(ledger.to_json())
    ledger.failed("metrics", 1001, ValueError("x"))
    assert json.loads(ledger.to_json())["entries_not_listed"] == 2
