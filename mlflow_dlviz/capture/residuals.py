"""Residuals of numeric predictions: from the tallies, so over the whole set and without a pass of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlflow_dlviz.capture.moment import Moment
from mlflow_dlviz.capture.probabilities import shown_scores
from mlflow_dlviz.visual import Arrays

_SHOWN = (
    "residuals", "residual_edges", "pairs", "pair_edges", "in_spreads", "r2", "mae", "rmse", "std", "samples",
)  # fmt: skip


def capture(moment: Moment, frozen: Arrays) -> Mapping[str, Arrays]:
    """One leaf: "validation", or "training" where there is no validation set; of several outputs one for each
    that predicts values, "validation.<output>".

    The arrays of :func:`mlflow_dlviz.plots.residuals.draw`, as
    :meth:`mlflow_dlviz.metrics.RegressionTally.scores` gives them.
    """
    return {
        leaf: {
            **{name: scores[name] for name in _SHOWN},
            "subset": np.asarray(subset),
            "epoch": np.asarray(moment.epoch),
        }
        for leaf, subset, scores in shown_scores(moment, "residuals", "no output predicts values")
    }
