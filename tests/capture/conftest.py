"""What captures are given: a call of ``fit``, a head, a probe and a moment, made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import Moment, Probe


@pytest.fixture
def moment():
    """``moment(x, labels, values=…)``: a moment without a model, as captures that only read arrays need."""

    def make(x=None, labels=None, head=None, epoch=3, values=None, class_names=("0", "1")):
        probe = None if x is None else Probe(x, labels, labels, "validation")
        return Moment(
            model=None,
            epoch=epoch,
            logs={},
            probe=probe,
            head=head or Head("binary"),
            rng=np.random.default_rng(0),
            class_names=class_names,
            values=values or {},
        )

    return make


@pytest.fixture
def call():
    """``call(train, validation)``: what ``fit`` was given."""

    def make(train=(None, None), validation=None, **settings):
        return FitCall(train, validation, settings)

    return make
