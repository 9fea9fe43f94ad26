"""How groups compare, and which runs that is said of."""

from __future__ import annotations

import numpy as np
import pytest
from builders import analysis_of, run_data, series
from scipy import stats

from mlflow_dlviz.reporting.standings import pairs, standings
from mlflow_dlviz.reporting.statistics import interval, iqm

NAN = float("nan")


def run(number, *losses, lr="0.1", seed=None, **told):
    params = {"lr": lr} | ({} if seed is None else {"seed": str(seed)})
    return run_data(number, params=params, histories={"val_loss": series(*losses)} if losses else {}, **told)


def two_groups(**told):
    """Five runs at 0.1, the better ones, and four at 0.01, with seeds 0, 1, …"""
    good = [run(seed, 1, 0.1 + 0.01 * seed, 0.5, seed=seed) for seed in range(5)]
    bad = [run(10 + seed, 1, 0.2 + 0.01 * seed, lr="0.01", seed=seed) for seed in range(4)]
    return analysis_of(*bad, *good, **told)


def test_groups_stand_by_the_iqm_of_their_best_values():
    found = standings(two_groups())
    assert [each.total for each in found] == [5, 4]
    assert found[0].values == pytest.approx((0.10, 0.11, 0.12, 0.13, 0.14))
    assert found[0].iqm == pytest.approx(float(iqm(np.array(found[0].values))))
    assert found[0].interval == interval(np.array(found[0].values))
    assert found[0].left_out == {}
    assert [each.improvement for each in found] == [None, None]


def test_greater_may_be_better():
    runs = [run_data(i, params={"k": str(i % 2)}, histories={"accuracy": series(0.5 + 0.1 * i)}) for i in range(4)]
    analysis = analysis_of(*runs)
    found = standings(analysis)
    assert [analysis.groups[each.group].label for each in found] == ["k=1", "k=0"]
    assert found[0].values == pytest.approx((0.8, 0.6))


def test_what_does_not_count_is_counted_beside():
    analysis = analysis_of(
        run(0, 0.5),
        run(1, 0.1, status="FAILED"),
        run(2, 0.1, status="KILLED"),
        run(3, 0.1, status="RUNNING"),
        run(4, 0.3, NAN),
        run(5, NAN, NAN),
        run(6, 0.2, float("inf")),
        run_data(7, params={"lr": "0.1"}, histories={"accuracy": series(1)}),
        run(8, NAN, 0.4),
    )
    [found] = standings(analysis)
    assert sorted(found.values) == [0.4, 0.5]
    assert [analysis.runs[place].name for place in found.places] == ["run-8", "run-0"]
    assert (found.total, found.interval) == (9, None)
    assert dict(found.left_out) == {"failed": 1, "killed": 1, "running": 1, "diverged": 3, "no goal": 1}
    assert len(found.values) + sum(found.left_out.values()) == found.total


def test_other_statuses_count_where_asked_for():
    found = standings(analysis_of(run(0, 0.5), run(1, 0.1, status="FAILED"), statuses=("FINISHED", "FAILED")))
    assert found[0].values == (0.1, 0.5)
    assert found[0].left_out == {}


def test_a_group_without_a_value_comes_last():
    found = standings(analysis_of(run(0, NAN), run(1, 0.5, lr="1")))
    assert [each.iqm for each in found] == [0.5, None]
    assert found[1].left_out == {"diverged": 1}


def test_without_a_metric_no_run_counts():
    found = standings(analysis_of(run_data(0, histories={}), run_data(1, histories={})))
    assert [(each.values, each.left_out) for each in found] == [((), {"no goal": 2})]


def test_runs_are_compared_with_the_baselines_group_by_seed():
    found = standings(two_groups(baseline="run-10"))
    assert found[1].improvement is None
    better = found[0].improvement
    assert (better.probability, better.n_a, better.n_b, better.paired) == (1.0, 4, 4, True)


def test_pairs_are_those_of_one_seed():
    """Seed by seed 0.5 of the runs are better; of all couples it would be another share."""
    a = [run(seed, value, seed=seed) for seed, value in enumerate((0.1, 0.4, 0.5, 0.9))]
    b = [run(10 + seed, value, lr="1", seed=f"{seed}.0") for seed, value in enumerate((0.2, 0.3, 0.6, 0.8))]
    found = {each.group: each.improvement for each in standings(analysis_of(*a, *b, baseline="run-10"))}
    [improvement] = [each for each in found.values() if each]
    assert (improvement.probability, improvement.paired) == (0.5, True)


def test_without_seeds_all_couples_are_compared():
    values = {"0.1": (0.1, 0.3, 0.5), "1": (0.2, 0.25, 0.6, 0.7)}
    runs = [run(10 * i + j, v, lr=lr) for i, (lr, of) in enumerate(values.items()) for j, v in enumerate(of)]
    found = standings(analysis_of(*runs, baseline="run-10"))[0].improvement
    expected = stats.mannwhitneyu(values["1"], values["0.1"]).statistic / 12
    assert (found.probability, found.paired) == (pytest.approx(expected), False)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([("1",), ("2",)], [("2",), ("1",)], [(0, 1), (1, 0)]),
        ([("1",), ("2",)], [("2",), ("1",), ("3",)], [(0, 1), (1, 0)]),
        ([("1",), ("2",)], [("2",), ("3",)], None),
        ([("1",), ("1",)], [("1",), ("2",)], None),
        ([("",)], [("",)], None),
        ([()], [()], None),
        ([], [], None),
    ],
)
def test_seeds_match_one_to_one_or_not(a, b, expected):
    assert pairs(a, b) == expected


def test_a_hundred_groups_are_paired_by_seed():
    runs = [
        run_data(
            number, params={"group": str(number // 5), "seed": str(number % 5)} | {f"p{i}": "1" for i in range(8)}
        )
        for number in range(500)
    ]
    analysis = analysis_of(*runs, baseline=runs[0].id)
    found = standings(analysis)
    assert sum(each.improvement is not None and each.improvement.paired for each in found) == 99
