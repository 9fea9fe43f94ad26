"""Which pictures are kept, and how they are made small."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlflow_dlviz.reporting import pictures

SERIES = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")),
    st.lists(st.integers(0, 500), min_size=1, max_size=30, unique=True).map(sorted),
    max_size=12,
)


@given(st.lists(st.integers(), unique=True, max_size=60).map(sorted), st.integers(0, 30))
def test_thinning_keeps_both_ends(steps, most):
    kept = pictures.thin(steps, most)
    assert len(kept) == min(len(steps), most)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(steps)
    if most >= 2 and steps:
        assert (kept[0], kept[-1]) == (steps[0], steps[-1])
    elif most == 1 and steps:
        assert kept == [steps[-1]]


@given(SERIES, st.integers(0, 200))
def test_a_plan_keeps_its_bound_and_treats_all_alike(steps, most):
    plan = pictures.plan_frames(steps, most)
    assert sum(map(len, plan.values())) <= most
    for place, each in plan.items():
        assert set(each) <= set(steps[place])
    if most >= sum(map(len, steps.values())):
        assert plan == steps
    if len(steps) <= most:
        assert set(plan) == set(steps)


@given(SERIES, st.integers(0, 3000))
def test_what_is_kept_fits_the_budget(steps, budget):
    sizes = {place: {step: 10 + step for step in each} for place, each in steps.items()}
    kept = pictures.within_budget(sizes, budget)
    assert sum(sizes[place][step] for place, each in kept.items() for step in each) <= budget


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "I;16"])
def test_any_picture_becomes_a_small_webp(mode):
    out = io.BytesIO()
    Image.new(mode, (900, 600)).save(out, "PNG")
    small = Image.open(io.BytesIO(pictures.shrink(out.getvalue())))
    assert (small.format, small.size) == ("WEBP", (450, 300))


def test_a_small_picture_is_not_enlarged():
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "PNG")
    assert Image.open(io.BytesIO(pictures.shrink(out.getvalue()))).size == (30, 20)


def test_a_tall_picture_is_made_lower():
    out = io.BytesIO()
    Image.new("RGB", (450, 18_000)).save(out, "PNG")
    assert Image.open(io.BytesIO(pictures.shrink(out.getvalue()))).size == (45, 1800)


def test_a_huge_picture_is_refused_in_words_before_it_is_read():
    out = io.BytesIO()
    Image.new("1", (8000, 6000)).save(out, "PNG")
    with pytest.raises(pictures.TooManyPixels, match="8000 × 6000 pixels are too many"):
        pictures.shrink(out.getvalue())


@given(SERIES, st.integers(0, 200))
def test_a_plan_gives_each_as_many_as_fit(steps, most):
    plan = pictures.plan_frames(steps, most)
    longest = max(map(len, plan.values()), default=0)
    if longest > 1 and any(len(each) < len(steps[place]) for place, each in plan.items()):
        assert sum(min(len(each), longest + 1) for each in steps.values()) > most
