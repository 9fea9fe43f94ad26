"""One picture that sums up a run: the curves of what matters most."""

from __future__ import annotations

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.analysis import run_curves
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import metric_name
from mlflow_dlviz.store.names import MONITOR_TAG

_PANELS = 6


def summary_arrays(run: RunData) -> dict[str, np.ndarray]:
    """names: (M,) metrics; epochs: (S,) the steps of any of them; values: (M, S), NaN where one has none."""
    curves = run_curves(run)
    bases = [panel.base for panel in align.choose_panels(run.histories) if panel.main][:_PANELS]
    places = [(base, half) for base in bases for half in ("train", "val") if (base, half) in curves]
    steps = np.unique(np.concatenate([curves[place].steps for place in places] or [np.zeros(0, np.int64)]))
    values = np.full((len(places), len(steps)), np.nan)
    for row, place in zip(values, places, strict=True):
        row[np.searchsorted(steps, curves[place].steps)] = curves[place].values
    names = np.array([metric_name(place) for place in places], dtype=np.str_)
    return {"names": names, "epochs": steps, "values": values}


def summary_png(run: RunData) -> bytes | None:
    """The PNG of ``run``'s main curves with the best epoch marked; None for a run without curves."""
    from mlflow_dlviz.plots import curves as plot
    from mlflow_dlviz.plots._style import encode

    arrays = summary_arrays(run)
    if not arrays["names"].size:
        return None
    found = _best(run)
    return encode(plot.draw(**arrays, best_epoch=found.step if found else None, title=run.name or run.id))


def monitored(run: RunData) -> str | None:
    """The metric that its user chose to tell the best epoch by; None if none was, or is not there."""
    chosen = run.tags.get(MONITOR_TAG)
    return chosen if chosen in run.histories else None


def _best(run: RunData) -> align.Best | None:
    goal = monitored(run) or align.choose_goal([list(run.histories)])
    if goal is None:
        return None
    return align.best(align.clean(run.histories[goal]), smaller=align.minimised(goal))
