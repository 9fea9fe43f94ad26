"""Values against scikit-learn and NumPy, alone and inside Keras' own training."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from mlflow_dlviz.metrics import RegressionTally
from mlflow_dlviz.metrics.formulas import resolve
from mlflow_dlviz.metrics.regression import fits_values, summarise_values

pytestmark = [
    pytest.mark.filterwarnings("error:::mlflow_dlviz"),
    pytest.mark.filterwarnings("ignore:::keras"),
]


def counted(y, p, weight=None, batch=16, **options):
    tally = RegressionTally(**options)
    for start in range(0, len(y), batch):
        part = slice(start, start + batch)
        tally.update_state(y[part], p[part], None if weight is None else weight[part])
    return tally


def reference(y, p, weight=None):
    functions = {"r2": r2_score, "mae": mean_absolute_error, "rmse": root_mean_squared_error}
    return {name: function(y, p, sample_weight=weight) for name, function in functions.items()}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), units=st.integers(1, 4), mean=st.sampled_from([0, 1, -1e6, 1e9]))
def test_metrics_are_scikit_learns_whatever_the_mean(seed, units, mean):
    rng = np.random.default_rng(seed)
    y = mean + rng.normal(size=(70, units)) * 10.0 ** rng.integers(-1, 3, units)
    p = y + rng.normal(size=y.shape) * rng.uniform(0, 2)
    tally = counted(y, p)
    scores = tally.scores()
    np.testing.assert_allclose(scores["r2"], r2_score(y, p, multioutput="raw_values"), atol=1e-9)
    assert summarise_values(scores) == pytest.approx(reference(y, p), rel=1e-9, abs=1e-9)
    assert {name: float(value) for name, value in tally.result().items()} == pytest.approx(
        summarise_values(scores), rel=1e-12
    )
    np.testing.assert_allclose(scores["mean"], y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scores["std"], y.std(0), rtol=1e-6)


@pytest.mark.parametrize("first", [0.0, 1e6])
def test_an_unlike_first_target_costs_no_digits(first):
    rng = np.random.default_rng(0)
    y = np.concatenate([[first], 1e6 + rng.normal(size=20_000)])
    p = y + rng.normal(size=len(y))
    want = r2_score(y.astype("longdouble"), p.astype("longdouble"))
    assert counted(y, p, batch=1000).scores()["r2"][0] == pytest.approx(want, abs=1e-9)


def test_constant_targets_are_as_scikit_learn_has_them():
    y = np.full(20, 0.1, "float32")
    for p in (y, y + 1):
        got = summarise_values(counted(y, p).scores())
        assert got == pytest.approx(reference(y, p))
    assert summarise_values(counted(y, y).scores())["r2"] == 1


def test_one_sample_is_no_error():
    assert summarise_values(counted(np.array([3.0]), np.array([5.0])).scores()) == {"r2": 0, "mae": 2, "rmse": 2}


def test_shapes_that_keras_takes_alike_count_alike():
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=30), rng.normal(size=30)
    want = counted(y, p).scores()
    for one, other in ((y[:, None], p), (y, p[:, None]), (y[:, None], p[:, None])):
        np.testing.assert_equal(counted(one, other).scores(), want)


def test_images_are_samples_at_every_pixel():
    rng = np.random.default_rng(2)
    y, p = rng.uniform(size=(5, 6, 4, 3)), rng.uniform(size=(5, 6, 4, 3))
    got = counted(y, p).scores()
    assert summarise_values(got) == pytest.approx(reference(y.reshape(-1, 3), p.reshape(-1, 3)))
    assert got["samples"] == 5 * 6 * 4
    assert got["residuals"].sum() == got["pairs"].sum() == y.size
    gray = counted(y[..., 0], p[..., :1]).scores()
    assert summarise_values(gray) == pytest.approx(reference(y[..., 0].ravel(), p[..., 0].ravel()))


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 5)])
def test_weights_of_samples_and_of_positions(shape):
    rng = np.random.default_rng(3)
    y, p = rng.normal(size=(40, 5, 1)), rng.normal(size=(40, 5, 1))
    weight = rng.uniform(0, 2, shape)
    weight.flat[0] = 0
    every = np.broadcast_to(weight.reshape(40, -1), (40, 5)).ravel()
    got = summarise_values(counted(y, p, weight, weighted=True).scores())
    assert got == pytest.approx(reference(y.ravel(), p.ravel(), every), rel=1e-6)
    np.testing.assert_equal(counted(y, p, weight).scores(), counted(y, p).scores())


def test_padding_and_what_is_no_number_count_nowhere():
    rng = np.random.default_rng(4)
    y, p = rng.normal(size=(6, 5, 2)), rng.normal(size=(6, 5, 2))
    mask = np.arange(5) < rng.integers(2, 6, (6, 1))
    y[0, 0, 1], p[1, 1, 0] = np.nan, np.inf
    masked = keras.ops.convert_to_tensor(p)
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    tally = RegressionTally()
    tally.update_state(y, masked)
    got, kept = tally.scores(), mask & np.isfinite(y).all(-1) & np.isfinite(p).all(-1)
    assert got["skipped"] == 2
    assert got["samples"] == kept.sum()
    assert summarise_values(got) == pytest.approx(reference(y[kept], p[kept]))


def test_logits_are_compared_as_values_between_0_and_1():
    rng = np.random.default_rng(5)
    y, logits = rng.uniform(size=(30, 4)), rng.normal(size=(30, 4))
    got = summarise_values(counted(y, logits, from_logits=True).scores())
    assert got == pytest.approx(reference(y, 1 / (1 + np.exp(-logits))))


def test_histograms_are_numpys():
    rng = np.random.default_rng(6)
    y = 50 + 7 * rng.normal(size=500)
    p = y + 3 * rng.normal(size=500)
    p[0] = 1e9
    got = counted(y, p, centre=[50], scale=[7]).scores()
    assert not got["in_spreads"]
    edges = got["residual_edges"]
    # Farther ones count at the ends.
    want = np.histogram(np.clip(p - y, edges[0], edges[-1]), edges)[0]
    np.testing.assert_array_equal(got["residuals"], want)
    width = np.diff(edges) / 7
    assert width.min() < 0.0004
    assert (width[-50:] / (edges[1:] / 7)[-50:]).max() < 0.08
    np.testing.assert_allclose(got["pair_edges"][[0, -1]], [50 - 28, 50 + 28])
    open_ended = [-np.inf, *got["pair_edges"], np.inf]
    np.testing.assert_array_equal(got["pairs"], np.histogram2d(y, p, [open_ended, open_ended])[0])


def test_without_a_scale_the_first_batch_gives_one_and_epochs_share_it():
    rng = np.random.default_rng(7)
    y = 1e6 + rng.normal(size=64)
    tally = counted(y, y)
    edges = tally.scores()["pair_edges"]
    assert edges.mean() == pytest.approx(y[:16].mean())
    assert edges[-1] - edges[0] == pytest.approx(8 * y[:16].std())
    tally.reset_state()
    assert not tally.scores()["samples"]
    tally.update_state(5 * y, 5 * y)
    np.testing.assert_array_equal(tally.scores()["pair_edges"], edges)
    assert tally.scores()["mean"] == pytest.approx([5 * y.mean()])


@pytest.mark.parametrize(("y", "wide"), [(np.array([0.0]), 8.0), (np.array([50.0]), 40.0)])
def test_a_batch_of_one_has_bins_too(y, wide):
    edges = counted(y, y).scores()["pair_edges"]
    assert edges[-1] - edges[0] == pytest.approx(wide)


def test_few_outputs_have_a_spread_each_and_many_share_one():
    rng = np.random.default_rng(8)
    y = rng.normal(size=(64, 2)) * [1, 1e6]
    got = counted(y, y + [0, 1e6], batch=64).scores()
    assert got["in_spreads"]
    middle = (got["residual_edges"][1:] + got["residual_edges"][:-1]) / 2
    peaks = middle[got["residuals"] == 64]
    assert peaks == pytest.approx([0, 1e6 / y[:, 1].std()], abs=0.05)
    field = rng.uniform(size=(8, 40))
    field[:, 0] = 0
    assert not counted(field, field).scores()["in_spreads"]


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ((None,), (None, 1), None),
        ((None, 1), (None,), None),
        ((8, 28, 28), (8, 28, 28, 1), None),
        ((8, 3), (8, 3), None),
        ((8,), (8, 3), "not one for one"),
        ((8, 2), (8, 3), "not one for one"),
        ((9, 3), (8, 3), "not one for one"),
        ((8, 3), None, "not known"),
        ((8, None), (8, None), "not known"),
        ((8, 70_000), (8, 70_000), "70000 outputs"),
    ],
)
def test_fits_values_says_why_not(y, p, words):
    reason = fits_values(y, p)
    assert reason is None if words is None else words in reason
    if words is not None:
        with pytest.raises(ValueError, match=words):
            RegressionTally().build(y, p)


def test_bad_scales_are_named():
    with pytest.raises(ValueError, match=r"centre=\[1\], scale=None"):
        RegressionTally(centre=[1])
    with pytest.raises(ValueError, match="1 centres for 2 outputs"):
        counted(np.zeros((4, 2)), np.zeros((4, 2)), centre=[1], scale=[1])


@pytest.mark.parametrize(
    "options", [pytest.param({"jit_compile": True}, marks=pytest.mark.slow), {"steps_per_execution": 3}], ids=str
)
def test_in_fit_and_saved_it_gives_what_scikit_learn_gives(options, tmp_path):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = (x @ rng.normal(size=4) + 0.1 * rng.normal(size=60)).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse", metrics=[RegressionTally(["r2", "rmse"])], **options)
    history = model.fit(x, y, epochs=3, batch_size=7, verbose=0, validation_data=(x, y)).history
    want = reference(y, model.predict(x, verbose=0)[:, 0])
    assert history["val_r2"][-1] == pytest.approx(want["r2"], abs=1e-6)
    assert history["val_rmse"][-1] == pytest.approx(want["rmse"], rel=1e-6)
    assert "val_mae" not in history
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").evaluate(x, y, verbose=0, return_dict=True)
    assert again["r2"] == pytest.approx(want["r2"], abs=1e-6)


def test_names_choose_among_what_applies():
    y = np.arange(5.0)
    assert summarise_values(counted(y, y).scores(), resolve(["mcc", "r2"])) == {"r2": 1}
