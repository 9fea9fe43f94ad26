"""The formulas against scikit-learn, and the option ``metrics``."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
    recall_score,
)

from mlflow_dlviz.metrics import formulas
from mlflow_dlviz.metrics.formulas import (
    BUILT_IN,
    OF_CLASSES,
    OF_POSITIONS,
    OF_VALUES,
    Formulas,
    resolve,
    summarise,
)

warnings_are_errors = pytest.mark.filterwarnings("error")


def confusions(classes, most=40):
    cells = st.one_of(st.just(0), st.integers(0, most))
    return arrays(np.int64, (classes, classes), elements=cells)


def samples(confusion):
    true, predicted = np.indices(confusion.shape)
    repeats = confusion.ravel()
    return np.repeat(true.ravel(), repeats), np.repeat(predicted.ravel(), repeats)


def reference(confusion, average):
    y, p = samples(confusion)
    labels = range(len(confusion))
    got = precision_recall_fscore_support(y, p, labels=labels, average=average, zero_division=0)
    return dict(zip(("precision", "recall", "f1"), got[:3], strict=True))


def quietly(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def one_vs_rest_specificity(confusion):
    y, p = samples(confusion)
    return [recall_score(y != k, p != k, zero_division=0) for k in range(len(confusion))]


@warnings_are_errors
@settings(max_examples=60, deadline=None)
@given(confusion=st.integers(3, 5).flatmap(confusions))
def test_many_classes_are_as_scikit_learn(confusion):
    got = summarise(confusion)
    if not confusion.any():
        assert set(got.values()) == {0.0}
        return
    for average in ("macro", "weighted"):
        for name, value in reference(confusion, average).items():
            assert got[f"{name}_{average}"] == pytest.approx(value, abs=1e-12)
    specificity, support = one_vs_rest_specificity(confusion), confusion.sum(1)
    assert got["specificity_macro"] == pytest.approx(np.mean(specificity), abs=1e-12)
    assert got["specificity_weighted"] == pytest.approx(np.average(specificity, weights=support), abs=1e-12)
    y, p = samples(confusion)
    assert got["balanced_accuracy"] == pytest.approx(quietly(balanced_accuracy_score, y, p), abs=1e-12)
    assert got["mcc"] == pytest.approx(quietly(matthews_corrcoef, y, p), abs=1e-12)


@warnings_are_errors
@settings(max_examples=60, deadline=None)
@given(confusion=confusions(2))
def test_two_classes_are_as_scikit_learn(confusion):
    got = summarise(confusion)
    y, p = samples(confusion)
    assert [got[name] for name in ("tn", "fp", "fn", "tp")] == confusion.ravel().tolist()
    assert list(confusion_matrix(y, p, labels=[0, 1]).ravel() if len(y) else [0] * 4) == confusion.ravel().tolist()
    if not len(y):
        return
    got_reference = precision_recall_fscore_support(y, p, labels=[1], zero_division=0)
    for name, value in zip(("precision", "recall", "f1"), got_reference[:3], strict=True):
        assert got[name] == pytest.approx(value[0], abs=1e-12)
    assert got["specificity"] == pytest.approx(recall_score(y, p, pos_label=0, zero_division=0), abs=1e-12)
    assert got["balanced_accuracy"] == pytest.approx(quietly(balanced_accuracy_score, y, p), abs=1e-12)
    assert got["mcc"] == pytest.approx(quietly(matthews_corrcoef, y, p), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_keras_ops_give_what_numpy_gives(classes):
    from keras import ops

    confusion = np.random.default_rng(0).integers(0, 9, (classes, classes))
    want = summarise(confusion)
    got = summarise(ops.convert_to_tensor(confusion), xp=ops)
    assert list(got) == list(want)
    for name, value in got.items():
        assert value.dtype == "float64"
        assert float(value) == pytest.approx(want[name], abs=1e-15)


def test_names_of_two_and_of_more_classes():
    assert list(summarise(np.eye(2))) == ["tp", "tn", "fp", "fn", *OF_CLASSES[1:]]
    means = [f"{name}_{mean}" for name in OF_CLASSES[1:5] for mean in ("macro", "weighted")]
    assert list(summarise(np.eye(3))) == [*means, "balanced_accuracy", "mcc"]
    assert all(type(value) is float for value in summarise(np.eye(3)).values())


@pytest.mark.parametrize("classes", [2, 3])
def test_huge_counts_keep_their_digits(classes):
    # (10^12)^2 is beyond int64 and float64's whole numbers; a handful of errors must still show.
    confusion = np.zeros((classes, classes), np.int64)
    confusion[0, 0], confusion[0, 1], confusion[1, 1] = 10**12, 7, 3
    want = 3 * 10**12 / np.sqrt(10.0 * (10**12 + 7) * 3 * 10**12)
    assert summarise(confusion)["mcc"] == pytest.approx(want, rel=1e-12)


@warnings_are_errors
def test_weights_that_round_stay_in_range():
    confusion = np.zeros((3, 3))
    confusion[:, 1] = 0.1, 0.2, 0.3
    got = summarise(confusion)
    assert np.isfinite(list(got.values())).all()
    assert got["mcc"] == pytest.approx(0, abs=1e-6)


@warnings_are_errors
@pytest.mark.parametrize("name", OF_POSITIONS[1:])
def test_a_formula_takes_plain_numbers_and_zero_over_zero_is_zero(name):
    formula = getattr(formulas, name)
    assert float(formula(tp=0, tn=0, fp=0, fn=0)) == 0
    got = summarise(np.array([[4, 2], [1, 3]]), positions=True)[name]
    assert float(formula(tp=3, tn=4, fp=2, fn=1)) == pytest.approx(got)


@warnings_are_errors
def test_an_own_formula_is_treated_as_the_built_in_ones():
    own = resolve({"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)})
    two = summarise(np.array([[4, 2], [1, 3]]), own)
    assert two["miss_rate"] == pytest.approx(1 - two["recall"])
    assert list(two)[-1] == "miss_rate"
    confusion = np.array([[5, 1, 0], [2, 2, 1], [0, 3, 7]])
    got = summarise(confusion, own)
    assert got["miss_rate_macro"] == pytest.approx(1 - got["recall_macro"])
    assert got["miss_rate_weighted"] == pytest.approx(1 - got["recall_weighted"])
    assert summarise(np.zeros((2, 2)), own)["miss_rate"] == 0
    assert summarise(np.diag([1, 1, 0]), own)["miss_rate_macro"] == 0


def test_an_own_formula_over_all_classes_is_taken_as_it_is():
    own = resolve({"errors": lambda tp, tn, fp, fn: fn.sum()})
    assert summarise(np.array([[5, 1, 0], [2, 2, 1], [0, 3, 7]]), own)["errors"] == 7


def test_an_own_formula_for_plain_numbers_is_called_class_by_class():
    own = resolve({"cost": lambda tp, tn, fp, fn: fn / max(tp, 1)})
    assert summarise(np.array([[0, 2, 0], [0, 4, 1], [1, 0, 2]]), own)["cost_macro"] == pytest.approx(2.75 / 3)


def test_an_own_formula_that_divides_by_a_python_zero_is_zero():
    own = resolve({"odds": lambda tp, tn, fp, fn: float(tp) / float(fp)})
    assert summarise(np.diag([3, 4]), own)["odds"] == 0
    assert summarise(np.diag([3, 4, 5]), own)["odds_macro"] == 0


def test_an_own_formula_of_the_wrong_shape_is_named():
    own = Formulas(own={"pair": lambda tp, tn, fp, fn: np.array([1.0, 2.0])})
    for classes in (2, 3):
        with pytest.raises(ValueError, match=r"'pair' returned shape \(2,\)"):
            summarise(np.eye(classes), own)


def test_metrics_names_a_subset_in_the_usual_order():
    assert resolve() == Formulas()
    assert resolve(["rmse", "mcc"]).names == ("mcc", "rmse")
    assert resolve(["rmse", "mcc"]).among(OF_VALUES) == ["rmse"]
    assert list(summarise(np.eye(2), resolve(["iou", "r2"]))) == ["iou"]
    assert {"iou", "r2", "subset_accuracy"} < {*BUILT_IN}
    assert resolve(["mcc", "counts", "mcc"]).names == ("counts", "mcc")
    assert list(summarise(np.eye(2), resolve(["mcc", "counts"]))) == ["tp", "tn", "fp", "fn", "mcc"]
    assert summarise(np.eye(3), resolve(["counts"])) == {}
    assert resolve(resolve(["mcc"])) == resolve(["mcc"])


def raises_name_error(tp, tn, fp, fn):
    return undefined_name  # noqa: F821


@pytest.mark.parametrize(
    ("metrics", "error", "words"),
    [
        (["mmc"], ValueError, "'mmc' is not one of .* Did you mean 'mcc'"),
        ([3], ValueError, "3 is not one of"),
        ("mcc", TypeError, "metrics='mcc': expected None, names"),
        (True, TypeError, "metrics=True: expected"),
        ({"cost": 3}, TypeError, "'cost' is 3; expected a function"),
        ({"recall": max}, ValueError, "'recall' is taken"),
        ({"f1_macro": max}, ValueError, "'f1_macro' is taken"),
        ({"loss": max}, ValueError, "'loss' is taken"),
        ({"val_cost": max}, ValueError, "'val_cost' is taken"),
        ({"my cost": max}, ValueError, "'my cost' cannot name"),
        ({1: max}, ValueError, "1 cannot name"),
        ({"cost": lambda a, b, c, d: a}, ValueError, "'cost' failed .* keyword"),
        ({"cost": lambda tp, tn: tp}, ValueError, "'cost' failed .* unexpected keyword"),
        ({"cost": lambda tp, tn, fp, fn: None}, ValueError, "'cost' failed"),
        ({"cost": lambda tp, tn, fp, fn: "high"}, ValueError, "'cost' failed"),
        ({"cost": raises_name_error}, ValueError, "NameError: name 'undefined_name'"),
    ],
)
def test_a_wrong_setting_fails_at_once_in_words(metrics, error, words):
    with pytest.raises(error, match=words):
        resolve(metrics)


def test_formulas_need_no_keras():
    loaded = "any(name in sys.modules for name in ('keras', 'tensorflow'))"
    code = f"import sys, mlflow_dlviz.metrics as metrics; metrics.resolve(); sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
