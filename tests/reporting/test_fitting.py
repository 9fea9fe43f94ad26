"""A page that its curves can't be shortened for: whole groups go, and it is said."""

from __future__ import annotations

import numpy as np
from builders import bundle, run_data, series

from mlflow_dlviz.reporting import fitting
from mlflow_dlviz.reporting.analysis import analyse
from mlflow_dlviz.reporting.bundle import Frame
from mlflow_dlviz.reporting.options import Options


def groups(count, seeds=3):
    """Runs of so many settings, the loss of a setting being its number."""
    return [
        run_data(
            seeds * number + seed,
            params={"setting": str(number), "seed": str(seed)},
            histories={"loss": series(9, number + seed / 10)},
        )
        for number in range(count)
        for seed in range(seeds)
    ]


def fitted(runs, size, **options):
    given = bundle(*runs)
    asked = Options(max_mb=10.0, **options)
    return fitting.smaller(given, analyse(given, asked, generated=0.0), size)


def test_a_page_that_fits_stays_as_it_is():
    assert fitted(groups(4), 10_400_000) is None


def test_where_no_run_can_go_it_is_said_once():
    fewer = fitted(groups(1), 90_000_000)
    assert len(fewer.runs) == 3
    assert fewer.notes == ("The page takes more than the 10 MB of --max-mb: no run could be left out.",)
    again = analyse(fewer, Options(max_mb=10.0), generated=0.0)
    assert fitting.smaller(fewer, again, 90_000_000) is None


def test_without_groups_the_worst_runs_go():
    fewer = fitted(groups(10), 20_000_000, group_by=())
    assert [run.params["setting"] for run in fewer.runs] == [str(n) for n in range(4) for _ in range(3)] + [
        "4",
        "4",
    ]
    assert "16 runs, the worst by loss, are left out" in fewer.notes[0]


def test_the_worst_groups_go_whole():
    fewer = fitted(groups(10), 20_000_000)
    assert [run.params["setting"] for run in fewer.runs] == [str(number) for number in range(4) for _ in range(3)]
    assert len(fewer.excluded) == 18
    assert {run.reason for run in fewer.excluded} == {"beyond the 10 MB of --max-mb"}
    [note] = fewer.notes
    assert note == (
        "18 runs, the groups that are worst by loss, are left out to keep the page within the 10 MB of --max-mb."
    )


def test_the_baselines_group_stays():
    runs = groups(10)
    fewer = fitted(runs, 100_000_000, baseline=runs[-1].id)
    assert {run.params["setting"] for run in fewer.runs} == {"0", "9"}


def test_each_different_picture_counts_once():
    frames = (
        Frame("a/b", 0, b"xyz"),
        Frame("a/b", 1, b"xyz"),
        Frame("a/b", 2, b"wxyz"),
        Frame("a/b", 3, None, "gone"),
    )
    given = bundle(run_data(1, frames=frames), run_data(2, frames=frames[:1]))
    assert fitting.pictures_size(analyse(given, Options(), generated=0.0)) == 4 + 8


def test_a_report_gets_no_larger_than_asked(make_run, experiment, store_uri):
    import mlflow_dlviz.reporting as reporting

    rng = np.random.default_rng(0)
    for number in range(12):
        note = "".join(map(chr, rng.integers(97, 123, 5900)))
        params = {f"{name}": note + str(number) for name in range(40)}
        make_run(name=f"r{number}", metrics={"loss": [1.0, number / 10]}, params=params)
    made = reporting.report(experiment[1], tracking_uri=store_uri, max_mb=2.0, progress=False, cache=False)
    assert len(made.html.encode()) <= 2.1e6
    assert 1 <= len(made.analysis.runs) < 12
    assert made.analysis.runs[0].name == "r0"
    assert "are left out to keep the page within the 2 MB" in made.html
