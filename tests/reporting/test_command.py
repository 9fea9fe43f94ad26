"""The command that makes a report again: run, it makes the same report."""

from __future__ import annotations

import re
import shlex
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import mlflow_dlviz.reporting as reporting
from mlflow_dlviz.cli import main
from mlflow_dlviz.reporting import options as asked
from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.command import age, command
from mlflow_dlviz.reporting.options import Options


def test_what_is_as_by_default_is_not_said():
    assert command(Query("sqlite: mlflow.db"), Options()) == "mlflow-dlviz report"
    assert command(Query("", ("digits",)), Options()) == "mlflow-dlviz report digits"


def test_words_are_quoted_for_a_shell():
    told = command(Query("", ("it's", "a b")), Options(redact=("$(rm -rf /)",)))
    assert shlex.split(told) == ["mlflow-dlviz", "report", "it's", "a b", "--redact", "$(rm -rf /)"]


def test_what_begins_with_a_dash_is_no_option():
    told = command(Query("", ("-x",), filters=("-y",)), Options(goal="-z"))
    assert shlex.split(told) == ["mlflow-dlviz", "report", "--filter=-y", "--goal=-z", "--", "-x"]


@given(st.floats(1, 1e8))
def test_an_age_comes_back(seconds):
    assert asked.check_since(age(seconds)) == pytest.approx(seconds, rel=1e-6)


@pytest.mark.parametrize(("seconds", "text"), [(604800, "1w"), (86400 * 8, "8d"), (5400, "90m"), (90, "1.5m")])
def test_ages_as_people_write_them(seconds, text):
    assert age(seconds) == text


ASKED = {
    "filter": ["metrics.loss < 99", "params.lr = '0.1'"],
    "status": ["finished", "killed"],
    "since": "5200w",
    "order_by": ["attributes.start_time ASC"],
    "limit": 7,
    "metrics": ["val_*:min", "loss", "accuracy:max"],
    "goal": "val_loss",
    "x": "time",
    "baseline": "best",
    "group_by": ["lr", "depth"],
    "seed_keys": ["fold", "seed"],
    "images": "a/*",
    "epochs": "0,1,last",
    "smoothing": 0.6,
    "max_mb": 8.5,
    "redact": ["^site$"],
}


@pytest.mark.parametrize("told", [ASKED, {}, {"group_by": "none", "epochs": [2]}, {"baseline": "fox-1"}])
def test_the_command_makes_the_same_page(told, experiment, make_run, store_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1750000000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri)
    rng = np.random.default_rng(0)
    for seed in range(4):
        loss = (np.exp(-np.arange(9) / 3) + 0.1 * rng.random(9)).tolist()
        make_run(
            name=f"fox-{seed}",
            metrics={"loss": loss, "val_loss": loss, "accuracy": loss},
            params={"lr": 0.1 * (seed % 2), "depth": 3, "seed": seed, "fold": seed, "site": "x"},
        )
    made = reporting.report(experiment[1], tracking_uri=store_uri, progress=False, **told)
    [line] = re.findall(r'<pre class="command".*?><code>(.*?)</code>', made.html)
    words = shlex.split(unescape(line))
    path = tmp_path / "again.html"
    run = CliRunner().invoke(main, [*words[1:], "-o", str(path), "-q"])
    assert run.exit_code == 0, run.output
    assert path.read_text() == made.html
