"""What is said of params, and that nothing is said of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from mlflow_dlviz.reporting.importance import Importance, Refusal, codes, importance, ranks


def texts(values) -> list[str]:
    return [f"{value:.6g}" for value in values]


def sweep(n: int, seed: int = 0):
    """lr matters, the others do not."""
    rng = np.random.default_rng(seed)
    lr = 10 ** rng.uniform(-4, -1, n)
    params = {"noise": texts(rng.random(n)), "lr": texts(lr), "kind": rng.choice(["a", "b"], n).tolist()}
    return params, (np.log10(lr) + 2.5) ** 2 + 0.1 * rng.random(n)


def test_what_matters_stands_first_and_above_the_noise():
    found = importance(*sweep(60))
    assert isinstance(found, Importance)
    assert found.params[0] == "lr"
    assert found.scores[0] > 5 * found.noise
    assert all(score < found.noise for score in found.scores[1:])
    assert found.r2 > 0.5
    assert found.n == 60
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_the_same_runs_have_the_same_figures():
    assert importance(*sweep(30)) == importance(*sweep(30))


def test_the_r2_is_scikit_learns_out_of_bag():
    params, goal = sweep(60)
    features = np.column_stack([codes(values) for values in params.values()])
    noise = np.random.default_rng(0).random((60, 5))
    forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=0)
    forest.fit(np.column_stack([features, noise]).astype(np.float32), ranks(goal))
    assert importance(params, goal).r2 == pytest.approx(forest.oob_score_)


def test_params_without_meaning_seldom_pass_the_noise_line():
    """Beside one that matters; about six in a hundred do (benchmarks/coverage.py)."""
    passed = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        goal = rng.random(40)
        params = {"x": texts(goal + 0.1 * rng.random(40))} | {name: texts(rng.random(40)) for name in "abc"}
        found = importance(params, goal)
        scores = dict(zip(found.params, found.scores, strict=True))
        assert scores["x"] > found.noise
        passed += [scores[name] > found.noise for name in "abc"]
    assert np.mean(passed) <= 0.1


def test_one_wild_loss_changes_little():
    params, goal = sweep(60)
    wild = goal.copy()
    wild[np.argmax(goal)] = 1e9
    assert importance(params, wild) == importance(params, goal)


def test_pure_noise_looks_important_at_ten_runs_without_the_guard():
    """Why there is one."""
    rng = np.random.default_rng(1)
    features, goal = rng.random((10, 3)), rng.random(10)
    forest = RandomForestRegressor(100, random_state=0).fit(features, goal)
    assert permutation_importance(forest, features, goal, random_state=0).importances_mean.max() > 0.21
    assert importance({str(i): texts(features[:, i]) for i in range(3)}, goal) == Refusal(10)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [20, 50])
def test_noise_alone_is_refused(n, seed):
    rng = np.random.default_rng([seed, n])
    found = importance({name: texts(rng.random(n)) for name in "abc"}, rng.random(n))
    assert isinstance(found, Refusal)
    assert found.n == n
    assert found.r2 < 0.3


def test_nineteen_runs_are_too_few():
    params, goal = sweep(40)
    assert importance({name: values[:19] for name, values in params.items()}, goal[:19]) == Refusal(19)


def test_nothing_is_learnt_from_nothing():
    assert importance({}, np.arange(30.0)) == Refusal(30)
    assert importance({"a": ["1"] * 30}, np.ones(30)) == Refusal(30)


def test_numbers_keep_their_order_and_absent_is_below():
    assert codes(["10", "1e-3", None, "0.001", "9"]).tolist() == [2, 0, -1, 0, 1]
    assert codes(["adam", "sgd", None, "adam", "3"]).tolist() == [1, 2, -1, 1, 0]
    assert codes(["True", "false", "inf", "nan", "1"]).tolist() == [4, 1, 2, 3, 0]


def test_ranks_are_scipys():
    values = [3.0, 1.0, 3.0, 2.0, 1.0, 1.0]
    np.testing.assert_allclose(ranks(values), (stats.rankdata(values) - 1) / 5)
    assert ranks([7.0]).tolist() == [0]
