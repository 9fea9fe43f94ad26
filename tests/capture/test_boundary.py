"""Decision boundaries of functions whose boundary is known."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from mlflow_dlviz.capture import boundary
from mlflow_dlviz.capture.boundary import to_probabilities
from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import NotShown

RNG = np.random.default_rng(0)
BINARY = Head("binary")


def linear(weights):
    """A model with one sigmoid unit."""
    return lambda x: expit(x @ np.asarray(weights))[:, None].astype("float32")


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("units", [1, 2, 5])
@pytest.mark.parametrize("from_logits", [True, False])
def test_probabilities_are_as_scipys(units, from_logits, scale):
    logits = scale * RNG.normal(size=(30, units))
    given = logits if from_logits else (expit(logits) if units == 1 else softmax(logits, axis=1))
    found = to_probabilities(Head("binary", from_logits=from_logits), given.astype("float32"))
    logits = logits.astype("float32").astype(float) if from_logits else logits
    positive = expit(logits)
    reference = np.concatenate([1 - positive, positive], axis=1) if units == 1 else softmax(logits, axis=1)
    np.testing.assert_allclose(found, reference, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.fixture
def plane(moment):
    """The captured plane of a model on a table, and what was frozen."""

    def capture(predict, x, labels=None, head=BINARY, **options):
        at = moment(x, labels, head=head, values={"predict": predict})
        frozen = boundary.freeze(at, **{"grid": 9, **options})
        return boundary.capture(at, frozen)["plane"], frozen

    return capture


def test_two_features_are_the_plane(plane):
    x = RNG.normal(size=(20, 2)).astype("float32")
    predict = linear([1.0, -2.0])
    found, _ = plane(predict, x, np.arange(20) % 2)
    assert found["plane"] == "features"
    assert np.isnan(found["agreement"])
    assert np.isnan(found["explained"]).all()
    np.testing.assert_allclose(found["points"], x)
    grid = np.array([[predict(np.array([[x1, x2]], "float32"))[0, 0] for x1 in found["xs"]] for x2 in found["ys"]])
    np.testing.assert_allclose(found["probability"], grid, atol=1e-5)
    np.testing.assert_array_equal(found["predicted"], found["probability"] > 0.5)


def test_the_grid_holds_all_points_with_a_margin(plane):
    x = RNG.normal(size=(20, 2)).astype("float32")
    found, _ = plane(linear([1, 1]), x)
    for axis, values in (("xs", x[:, 0]), ("ys", x[:, 1])):
        assert found[axis][0] < values.min()
        assert found[axis][-1] > values.max()
        assert len(found[axis]) == 9


def test_agreement_is_the_share_that_the_plane_shows_as_predicted(plane):
    x = (RNG.normal(size=(60, 5)) * [1, 10, 0.1, 5, 2] + [3, 0, 0, 7, 0]).astype("float32")
    predict = linear([1.0, -0.2, 4.0, 0.3, 1.0])
    found, _ = plane(predict, x)
    # Independently: by the eigenvectors of the correlation matrix.
    mean, scale = x.mean(0), x.std(0)
    standard = (x - mean) / scale
    shares, vectors = np.linalg.eigh(np.corrcoef(x, rowvar=False))
    axes = vectors[:, ::-1][:, :2]
    back = (standard @ axes @ axes.T) * scale + mean
    own, shown = (predict(each.astype("float32"))[:, 0] > 0.5 for each in (x, back))
    assert 0.5 < (own == shown).mean() < 1
    assert found["agreement"] == pytest.approx((own == shown).mean())
    np.testing.assert_allclose(found["explained"], shares[::-1][:2] / shares.sum(), atol=1e-5)
    assert found["plane"] == "principal"
    assert found["axis_names"].tolist() == ["PC 1", "PC 2"]


def test_a_plane_that_holds_all_variance_agrees_fully(plane):
    coordinates = RNG.normal(size=(40, 2))
    x = (coordinates @ RNG.normal(size=(2, 6))).astype("float32")
    found, _ = plane(linear(RNG.normal(size=6)), x)
    assert found["agreement"] >= 0.97
    assert found["explained"].sum() == pytest.approx(1, abs=1e-5)


def test_a_constant_feature_is_no_trouble(plane):
    x = RNG.normal(size=(20, 3)).astype("float32")
    x[:, 1] = 5
    found, _ = plane(linear([1, 1, 1]), x)
    assert np.isfinite(found["probability"]).all()
    found, _ = plane(linear([1, 1]), np.ones((20, 2), "float32"))
    assert (np.diff(found["xs"]) > 0).all()


def test_of_more_classes_the_predicted_one_and_its_probability(plane):
    weights = RNG.normal(size=(2, 3))
    x = RNG.normal(size=(20, 2)).astype("float32")
    found, _ = plane(lambda x: (x @ weights).astype("float32"), x, head=Head("multiclass", from_logits=True))
    points = np.stack(np.meshgrid(found["xs"], found["ys"]), -1)
    reference = softmax(points @ weights, axis=-1)
    np.testing.assert_array_equal(found["predicted"], reference.argmax(-1))
    np.testing.assert_allclose(found["probability"], reference.max(-1), atol=1e-5)


def test_two_softmax_units_are_binary(plane):
    x = RNG.normal(size=(20, 2)).astype("float32")
    two, _ = plane(lambda x: np.concatenate([1 - linear([1, 2])(x), linear([1, 2])(x)], axis=1), x)
    one, _ = plane(linear([1, 2]), x)
    np.testing.assert_allclose(two["probability"], one["probability"], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_the_model_is_asked_for_points_between_whole_numbers(plane, dtype):
    asked = []

    def predict(x):
        asked.append(x)
        return linear([1, -1])(x)

    plane(predict, RNG.integers(0, 5, (20, 2)).astype(dtype))
    assert asked[0].dtype.kind == "f"
    assert len(np.unique(asked[0][:, 0])) == 9


def test_feature_names_stand_at_the_axes(plane):
    x = RNG.normal(size=(20, 2)).astype("float32")
    assert plane(linear([1, 1]), x, feature_names=("age", "height"))[0]["axis_names"].tolist() == ["age", "height"]
    assert plane(linear([1, 1]), x)[0]["axis_names"].tolist() == ["feature 1", "feature 2"]


@pytest.mark.parametrize(
    ("x", "head", "words"),
    [
        (None, BINARY, "no probe"),
        (np.zeros((4, 8, 8, 1)), BINARY, r"inputs of shape \(8, 8, 1\)"),
        ({"a": np.zeros((4, 2)), "b": np.zeros((4, 2))}, BINARY, "takes 2 inputs"),
        (np.zeros((4, 1)), BINARY, "2 features"),
        (np.zeros((1, 2)), BINARY, "2 samples"),
        (np.asarray([["a", "b"]]), BINARY, "takes text"),
        (np.asarray([["a", "b"]], dtype=object), BINARY, "takes text"),
        (np.full((4, 2), np.nan), BINARY, "finite"),
        (np.zeros((4, 2)), Head("other", reason="a regression"), "a regression"),
    ],
    ids=["none", "images", "dict", "feature", "sample", "text", "objects", "nan", "regression"],
)
def test_what_has_no_boundary_is_not_shown(moment, x, head, words):
    with pytest.raises(NotShown, match=words):
        boundary.freeze(moment(x, head=head))


@pytest.mark.parametrize(
    "wrap", [lambda x: {"a": x}, lambda x: [x], lambda x: (x,)], ids=["dict", "list", "tuple"]
)
def test_one_table_in_a_structure_is_given_to_the_model_as_fit_gives_it(plane, wrap):
    x = RNG.normal(size=(20, 3)).astype("float32")
    asked = []

    def predict(given):
        asked.append(type(given))
        return linear([1, 2, 3])(next(iter(given.values())) if isinstance(given, dict) else given[0])

    found, _ = plane(predict, wrap(x))
    expected, _ = plane(linear([1, 2, 3]), x)
    np.testing.assert_array_equal(found["probability"], expected["probability"])
    assert {*asked} == {type(wrap(x))}


def test_a_prediction_for_each_position_has_no_boundary(moment):
    at = moment(np.eye(4, 3), head=BINARY, values={"predict": lambda x: np.zeros((len(x), 5, 1))})
    with pytest.raises(NotShown, match="one prediction a sample"):
        boundary.capture(at, boundary.freeze(at))


def test_between_ids_there_is_no_boundary(moment):
    import dataclasses

    import keras

    inner = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 2)])
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(NotShown, match="takes ids"):
        boundary.freeze(dataclasses.replace(moment(np.zeros((4, 3)), head=BINARY), model=model))


def test_nan_predictions_are_kept(plane):
    found, _ = plane(lambda x: np.full((len(x), 1), np.nan, "float32"), RNG.normal(size=(20, 3)).astype("float32"))
    assert np.isnan(found["probability"]).all()
