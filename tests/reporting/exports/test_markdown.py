"""Markdown: what it says, and that a renderer of others takes every name in it for text."""

from __future__ import annotations

import html
import re

import pytest
from builders import analysis_of, run_data, series
from hostile import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_dlviz.reporting.bundle import Excluded
from mlflow_dlviz.reporting.exports.markdown import escape, markdown

renderer = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
OURS = {"h1", "h2", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def rendered(text: str) -> str:
    return renderer.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def elements(page: str) -> set[str]:
    return set(re.findall(r"<([a-zA-Z][\w-]*)", page))


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"</?[a-z][^>]*>", " ", page)).split())


def seeds(count=3, **told):
    return [
        run_data(
            number,
            params={"lr": f"0.{1 + number // count}", "seed": str(number % count)},
            histories={"val_loss": series(1.0, 0.5 + number / 10), "loss": series(1.0, 0.4)},
            **told,
        )
        for number in range(2 * count)
    ]


SPECIAL = st.text(st.sampled_from("_*`~[]()!#|\\\\<>&;:/$-+= a1\n"), max_size=30)


PLACES = ["# {}", "- {}", "- {}: b", "- **x{}y**: b", "| {} |\n| --- |\n| b |"]


@settings(deadline=None)
@given(st.text() | SPECIAL, st.sampled_from(PLACES))
def test_any_text_is_shown_and_means_nothing(text, place):
    page = rendered(place.format(escape(text, 10**6)) + "\n")
    assert elements(page) <= {"h1", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    expected = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    before, after = words(rendered(place.format("SPLIT"))).split("SPLIT")
    assert "".join(words(page).split()) == "".join(f"{before}{expected}{after}".split())


def test_what_github_would_link_without_being_asked_to():
    assert escape("www.evil.example") == r"www\.evil.example"
    assert escape("WWW.evil.example") == r"WWW\.evil.example"
    assert escape("http://evil.example") == r"http\://evil.example"


def test_the_best_comes_first_in_words_and_tables():
    page = words(rendered(markdown(analysis_of(*seeds(), baseline="run-3"))))
    assert page.startswith("vision Best run: run-0 , val_loss = 0.5 at step 1 (lower is better).")
    assert "Best group: lr=0.1 , IQM of val_loss = 0.6" in page
    assert "A run of it beats one of the baseline’s group, lr=0.2, with probability 1.00 (" in page
    assert page.index("run-0 lr=0.1 finished") < page.index("run-1 lr=0.1 finished")


def test_groups_say_what_they_are_over():
    runs = [*seeds(), run_data(9, params={"lr": "0.1", "seed": "9"}, status="FAILED")]
    text = markdown(analysis_of(*runs))
    [row] = [line for line in text.splitlines() if line.startswith("| lr=0.1 |")]
    assert row.split(" | ")[1:4] == ["3 of 4", "1 failed", "0.6"]
    assert re.fullmatch(r"[\d.]+ to [\d.]+", row.split(" | ")[4])


def test_only_params_that_differ():
    text = markdown(analysis_of(*(run_data(n, params={"lr": str(n), "same": "x"}) for n in range(2))))
    assert "| Run | lr |" in text
    assert "same" not in text


def test_a_run_alone_has_no_groups():
    text = markdown(analysis_of(run_data(params={"lr": "1"})))
    assert "## Groups" not in text
    assert "Best value, val_loss = **0.25** at step 1" in text


def test_a_run_without_metrics_is_told_too():
    assert "run-0" in markdown(analysis_of(run_data(histories={})))


def test_what_is_wrong_and_what_is_left_out_is_said():
    runs = [run_data(0, histories={"loss": series(1.0, float("nan"))}), run_data(1)]
    told = {"excluded": (Excluded("f" * 32, "ghost", "deleted"),), "problems": ("Run x: no answer",)}
    page = words(rendered(markdown(analysis_of(*runs, **told))))
    assert "Health run-0" in page.replace(" - ", " ")
    assert "Left out 1 run, deleted: ghost (ffffffff)" in page
    assert "Not everything could be read: Run x: no answer" in page


def test_hostile_names_stay_in_their_cells():
    runs = [
        run_data(number, name=text, experiment=text, params={text: text, "lr": str(number)}, tags={text: text})
        for number, text in enumerate(CORPUS)
    ]
    text = markdown(analysis_of(*runs, excluded=(Excluded("x", CORPUS[0], CORPUS[1]),), notes=tuple(CORPUS)))
    assert elements(rendered(text)) <= OURS
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_secrets_are_masked():
    runs = [run_data(number, params={"api_key": f"hunter{number}22"}) for number in range(2)]
    assert "hunter" not in markdown(analysis_of(*runs))
