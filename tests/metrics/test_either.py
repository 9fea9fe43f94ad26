"""Labels or values: the targets decide, and each is what it would be alone."""

import numpy as np
import pytest

from mlflow_dlviz.metrics import ClassificationTally, MultiLabelTally, RegressionTally
from mlflow_dlviz.metrics.either import EitherTally

pytestmark = pytest.mark.filterwarnings("ignore:::keras")
RNG = np.random.default_rng(0)
P = RNG.uniform(size=(20, 6, 1)).astype("float32")


def counted(tally, y, p):
    tally.update_state(y, p)
    return tally.scores()


@pytest.mark.parametrize("kind", [ClassificationTally, MultiLabelTally])
@pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
def test_targets_of_0_and_1_are_labels(kind, dtype):
    y = RNG.integers(0, 2, P.shape).astype(dtype)
    got = counted(EitherTally(kind(), RegressionTally()), y, P)
    np.testing.assert_equal(got, counted(kind(), y, P))


def test_a_target_between_0_and_1_makes_values_of_all():
    y = RNG.integers(0, 2, P.shape).astype("float32")
    y[3, 2] = 0.5
    tally = EitherTally(MultiLabelTally(), RegressionTally())
    np.testing.assert_equal(counted(tally, y, P), counted(RegressionTally(), y, P))
    tally.reset_state()
    assert "multilabel_confusion" in counted(tally, np.round(y), P)
