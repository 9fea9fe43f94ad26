"""Probability histograms: from the tallies, so over the whole set and without a pass of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlflow_dlviz.capture.moment import Moment, NotShown
from mlflow_dlviz.visual import Arrays


def capture(moment: Moment, frozen: Arrays) -> Mapping[str, Arrays]:
    """One leaf: "validation", or "training" where there is no validation set.

    counts (K, 2, B): of each class the scores of the samples that are not of it and of those that are;
    edges (B + 1,) in [0, 1].  The arrays of :func:`mlflow_dlviz.plots.probabilities.draw`.
    """
    scores = moment.values["scores"]
    subset = "validation" if moment.validates or "validation" in scores else "training"
    if subset not in scores and scores:
        return {}  # not an epoch that ``validation_freq`` validates
    if subset not in scores:
        raise NotShown("nothing was counted: see the reason given for the metrics")
    return {
        subset: {
            "counts": scores[subset]["histogram"],
            "edges": scores[subset]["edges"],
            "class_names": np.asarray(moment.class_names),
            "subset": np.asarray(subset),
            "epoch": np.asarray(moment.epoch),
        }
    }
