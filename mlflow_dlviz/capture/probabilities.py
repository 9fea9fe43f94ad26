"""Probability histograms: from the tallies, so over the whole set and without a pass of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mlflow_dlviz.capture.moment import Moment, NotShown
from mlflow_dlviz.visual import Arrays


def capture(moment: Moment, frozen: Arrays) -> Mapping[str, Arrays]:
    """One leaf: "validation", or "training" where there is no validation set; of several outputs one for each
    that predicts classes or labels, "validation.<output>".

    counts (K, 2, B): of each class or label the scores of the samples that are not of it and of those that are;
    edges (B + 1,) in [0, 1]; multilabel () bool.  The arrays of :func:`mlflow_dlviz.plots.probabilities.draw`.
    """
    found = list(shown_scores(moment, "histogram", "no output predicts classes or labels"))
    return {leaf: _arrays(moment, subset, scores) for leaf, subset, scores in found}


def shown_scores(moment: Moment, wanted: str, otherwise: str) -> Iterator[tuple[str, str, Arrays]]:
    """The leaf, the subset and the scores of each output that has the array ``wanted``.

    Of the validation set, or of the training set where there is none; nothing at an epoch that is not
    validated under ``validation_freq``. Raises NotShown where nothing was counted, or, saying ``otherwise``,
    nothing of that kind.
    """
    scores = moment.values["scores"]
    if not scores:
        raise NotShown("nothing was counted: see the reason given for the metrics")
    if not any(wanted in arrays for arrays in scores.values()):
        raise NotShown(otherwise)
    validated = moment.validates or any(_subset(leaf) == "validation" for leaf in scores)
    subset = "validation" if validated else "training"
    for leaf, arrays in scores.items():
        if _subset(leaf) == subset and wanted in arrays:
            yield leaf, subset, arrays


def _subset(leaf: str) -> str:
    return leaf.split(".", 1)[0]


def _arrays(moment: Moment, subset: str, scores: Arrays) -> Arrays:
    classes = len(scores["histogram"])
    own = moment.class_names
    names = own if len(own) == classes else [str(index) for index in range(classes)]
    return {
        "counts": scores["histogram"],
        "edges": scores["edges"],
        "class_names": np.asarray(names),
        "multilabel": np.asarray("multilabel_confusion" in scores),
        "subset": np.asarray(subset),
        "epoch": np.asarray(moment.epoch),
    }
