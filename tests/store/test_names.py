"""Any name of a layer, a class or a metric gives a key and a path that are safe."""

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.store.artifact.artifact_repo import verify_artifact_path
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from mlflow_dlviz.store import names
from mlflow_dlviz.store.images import image_files

# Surrogates too: a name read from a damaged file has them.
ANY = (
    st.text(max_size=60) | st.text("ab/.~+-_ \\", max_size=12) | st.sampled_from(["..", "/", "a/../b", "x" * 500])
)


@given(ANY)
@example("\ud800")
@example("<img src=x onerror=alert(1)>\n")
def test_a_leaf_is_one_safe_segment_of_a_path(name):
    leaf = names.clean_leaf(name)
    assert leaf
    assert len(leaf) <= names.LEAF_LENGTH
    assert leaf.isascii()
    assert not {*'/\\:*?"<>|\n~+% '} & {*leaf}
    assert ".." not in leaf
    path = names.numbers_path("activations", name, 3)
    assert posixpath.normpath(path) == path
    assert posixpath.dirname(posixpath.dirname(path)) == "dlviz/activations"
    verify_artifact_path(path)


@given(ANY, ANY)
@example("a b", "a_b")
@example("x" * 40, "x" * 41)
@example("a..b", "a.b")
@example("a/b", "a.b")
@example("03.a/b", "03.a.b")
@example("03/a", "03.a")
@example("", ".")
@example(names.clean_leaf("a b"), "a b")
def test_different_names_have_different_leaves(one, other):
    if one != other:
        assert names.clean_leaf(one) != names.clean_leaf(other)


@given(ANY, ANY)
@example("f1 (macro)", "f1 [macro]")
@example("a//b", "a/b")
@example("./a", "a")
@example("", "_")
@example("x" * 250, "x" * 251)
@example(names.clean_metric("f1 (macro)"), "f1 (macro)")
def test_different_names_are_different_metrics(one, other):
    if one != other:
        assert names.clean_metric(one) != names.clean_metric(other)


LAYER = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)


@given(st.integers(0, 999), st.lists(LAYER, min_size=1, max_size=3))
def test_layers_are_named_by_their_place_and_path(place, path):
    name = f"{place:02d}.{'/'.join(path)}"
    if len(name) <= names.LEAF_LENGTH:
        assert names.clean_leaf(name) == name.replace("/", ".")


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,20}", fullmatch=True).filter(lambda name: name[-7:-6] != "-"))
def test_a_plain_name_stays_as_it_is(name):
    assert names.clean_leaf(name) == name
    assert names.clean_metric(name) == name


@given(ANY)
def test_an_image_key_has_one_slash_and_names_files(name):
    key = names.image_key("activations", name)
    assert key.count("/") == 1
    for path in image_files(key, 0, b"", b"", timestamp=0):
        verify_artifact_path(path)


@given(ANY)
@example("a/./b")
@example("./a")
@example("a/.")
@example("y" * 249 + "/z")
@example(". /")
def test_mlflow_accepts_any_name_as_a_metric_and_a_parameter(name):
    clean = names.clean_metric(name)
    _validate_metric_name(clean)
    _validate_param_name(clean)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("val_loss", "val_loss"),
        ("activations/01.dense.dead", "activations/01.dense.dead"),
        ("top 5/k", "top 5/k"),
        ("f1 (macro)", "f1 _macro_-619cdd"),
        ("", "-e3b0c4"),
    ],
)
def test_a_metric_keeps_what_mlflow_allows(name, clean):
    assert names.clean_metric(name) == clean


def test_epochs_sort_as_numbers():
    paths = [names.numbers_path("v", "leaf", epoch) for epoch in (2, 10, 100)]
    assert paths == sorted(paths)


@pytest.mark.parametrize("tag", ["dlviz.status", "dlviz.versions", "dlviz.next_epoch"])
def test_a_run_is_ours_before_it_has_a_status(tag):
    assert names.is_recorded({tag: "x"})
    assert not names.is_recorded({"dlviz.report": "true", "mlflow.user": "dlviz.status"})
