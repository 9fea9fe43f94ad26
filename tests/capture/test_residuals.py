"""The arrays behind the picture are those of the model's predictions on the whole set."""

import keras
import numpy as np
import pytest
from sklearn.metrics import r2_score

from mlflow_dlviz.capture import residuals
from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.metrics import RegressionTally


@pytest.fixture
def scores():
    tally = RegressionTally()
    tally.update_state(np.arange(8.0), np.arange(8.0) + 1)
    return tally.scores()


def test_it_equals_predict_on_the_validation_set(dlviz, runs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype("float32")
    y = 200 + 30 * x[:, 0] + rng.normal(size=90).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1.0), "mse")
    dlviz.autolog(log_models=False, visuals=["residuals"], cadence=dlviz.AtEnd(), probe=4)
    model.fit(x[:60], y[:60], epochs=3, verbose=0, validation_data=(x[60:], y[60:]))
    dlviz.flush(60)
    [(epoch, arrays)] = dlviz.load(runs()[0].info.run_id, "residuals")["validation"].items()
    found = model.predict(x[60:], verbose=0)[:, 0].astype("float64")
    assert epoch == 2
    assert arrays["r2"] == pytest.approx([r2_score(y[60:], found)], abs=1e-6)
    edges = arrays["residual_edges"]
    want = np.histogram(np.clip(found - y[60:], edges[0], edges[-1]), edges)[0]
    # The model's own float32 may put a residual on either side of an edge.
    assert abs(arrays["residuals"].cumsum() - want.cumsum()).max() <= 1
    assert arrays["pairs"].sum() == arrays["samples"] == 30
    # The bins are those of the training targets.
    assert arrays["pair_edges"].mean() == pytest.approx(y[:60].mean(), rel=1e-5)


def test_several_outputs_have_a_leaf_each(moment, scores):
    other = {"histogram": np.ones((2, 2, 4)), "edges": np.linspace(0, 1, 5)}
    values = {"scores": {"validation.age": scores, "validation.sex": other, "training.age": scores}}
    assert list(residuals.capture(moment(values=values), {})) == ["validation.age"]
    only = {"scores": {"training": scores}}
    [(leaf, arrays)] = residuals.capture(moment(values=only), {}).items()
    assert (leaf, str(arrays["subset"]), int(arrays["epoch"])) == ("training", "training", 3)


def test_without_values_it_is_not_shown(moment):
    classes = {"validation": {"confusion": np.eye(2), "histogram": np.ones((2, 2, 4))}}
    with pytest.raises(NotShown, match="no output predicts values"):
        residuals.capture(moment(values={"scores": classes}), {})
    with pytest.raises(NotShown, match="nothing was counted"):
        residuals.capture(moment(values={"scores": {}}), {})
