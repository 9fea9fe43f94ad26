"""The catalogue: the built-in visuals, and a third party's by argument or by entry point."""

from __future__ import annotations

import inspect
import json
import textwrap

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from mlflow_dlviz import catalogue
from mlflow_dlviz.cli import main
from mlflow_dlviz.visual import AtEnd, LogSpaced, Visual

# A whole third-party visual, the module that its entry point names.
THIRD_PARTY = """
import numpy as np
from matplotlib.figure import Figure
from mlflow_dlviz import Visual

def capture(moment, frozen):
    return {w.path: {"norm": np.linalg.norm(w.numpy())} for w in moment.model.trainable_weights}

def draw(norm):
    figure = Figure()
    figure.text(0.5, 0.5, f"{norm:.3f}")
    return figure

norms = Visual("norms", capture, draw, metrics=("norm",), summary="Length of each weight.")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a distribution with entry points for this test: ``package(code, {name: object})``."""

    def install(code, points, name="thirdparty"):
        folder = tmp_path / f"site_{name}"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {name}:{found}" for point, found in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{catalogue.GROUP}]", *lines]))
        monkeypatch.syspath_prepend(folder)

    yield install
    import sys

    for name in [name for name in sys.modules if name.startswith("thirdparty")]:
        del sys.modules[name]


def test_a_third_partys_visual_is_short():
    assert len(THIRD_PARTY.strip().splitlines()) <= 15


def test_a_third_partys_visual_by_entry_point_and_by_argument(dlviz, runs, package, binary, table):
    package(THIRD_PARTY, {"norms": "norms"})
    import thirdparty

    mine = Visual("gap", lambda moment, frozen: {"all": {"norm": np.asarray(moment.epoch)}}, thirdparty.draw)
    dlviz.autolog(log_models=False, visuals=["norms", mine])
    model = binary()
    model.fit(*table[:2], epochs=2, verbose=0)
    dlviz.flush(60)
    [run] = runs()
    found = dlviz.load(run.info.run_id, "norms")
    assert {len(frames) for frames in found.values()} == {2}
    lengths = [float(np.linalg.norm(weight.numpy())) for weight in model.trainable_weights]
    assert {float(frames[1]["norm"]) for frames in found.values()} == {*lengths}
    for leaf, frames in found.items():
        assert run.data.metrics[f"norms.norm/{leaf}"] == pytest.approx(float(frames[1]["norm"]))
    assert list(dlviz.load(run.info.run_id, "gap")["all"]) == [0, 1]
    assert run.data.tags["dlviz.status"] == "ok"


def test_registered_visuals_are_known_and_listed(package):
    package(THIRD_PARTY, {"norms": "norms"})
    assert "norms" in catalogue.known()
    assert "norms" in {visual.name for visual in catalogue.resolve(None)}
    assert catalogue.resolve(["norms"])[0].name == "norms"
    listed = CliRunner().invoke(main, ["visuals"])
    assert listed.exit_code == 0
    assert "norms  Length of each weight." in listed.output


def test_a_factory_may_be_registered(package):
    package(f"{THIRD_PARTY}\ndef made():\n    return norms\n", {"norms": "made"})
    assert catalogue.resolve(["norms"])[0].name == "norms"


BROKEN = {
    "missing": ("", {"broken": "nowhere"}),
    "import": ("raise RuntimeError('no GPU here')", {"broken": "norms"}),
    "type": ("norms = 3", {"broken": "norms"}),
    "factory": ("def norms():\n    return 'activations'\n", {"broken": "norms"}),
    "name": (THIRD_PARTY, {"broken": "norms"}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_point_leaves_the_others_alone(package, caplog, kind):
    package(*BROKEN[kind])
    assert {visual.name for visual in catalogue.resolve(None)} == {*catalogue.BUILT_IN}
    assert len(caplog.records) == 1
    assert "registered visual 'broken'" in caplog.text
    assert [visual.name for visual in catalogue.resolve(["boundary"])] == ["boundary"]
    listed = CliRunner().invoke(main, ["visuals"])
    assert listed.exit_code == 0, listed.exception
    assert "probabilities" in listed.output
    with pytest.raises(Exception, match=".+"):
        catalogue.resolve(["broken"])


def test_a_built_in_name_can_not_be_taken(package):
    package(THIRD_PARTY, {"boundary": "norms"})
    assert catalogue.known()["boundary"] is catalogue.boundary
    assert [visual.name for visual in catalogue.resolve(None)].count("boundary") == 1


def test_a_name_twice_raises():
    for twice in (["boundary", "boundary"], ["boundary", catalogue.boundary(grid=8)]):
        with pytest.raises(ValueError, match="'boundary' stands for more than one"):
            catalogue.resolve(twice)


def test_an_unknown_name_says_what_is_known():
    with pytest.raises(ValueError, match=r"'activatons'.*did you mean 'activations'\?") as raised:
        catalogue.resolve(["activatons"])
    assert str(sorted(catalogue.BUILT_IN)) in str(raised.value)
    with pytest.raises(ValueError, match="unknown visual 'zzz'") as raised:
        catalogue.resolve(["zzz"])
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize("name", catalogue.BUILT_IN)
def test_a_factory_tells_its_options_and_its_purpose(name):
    factory = catalogue.BUILT_IN[name]
    parameters = inspect.signature(factory).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    assert catalogue.options(factory)["cadence"] == LogSpaced(20)
    visual = factory(cadence=AtEnd())
    assert visual.name == name
    assert visual.cadence == AtEnd()
    assert visual.summary == catalogue.describe(factory)
    assert len(visual.summary) > 20
    json.dumps(visual.summary)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: catalogue.activations(channels=0), r"activations\(channels=0\)"),
        (lambda: catalogue.activations(channels=True), r"activations\(channels=True\)"),
        (lambda: catalogue.boundary(grid=1), r"boundary\(grid=1\)"),
        (lambda: catalogue.boundary(grid=6.5), r"boundary\(grid=6.5\)"),
    ],
)
def test_a_bad_option_of_a_visual_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_options_reach_the_pictures(dlviz, runs, convnet, images):
    dlviz.autolog(log_models=False, visuals=[catalogue.activations(channels=2)])
    convnet().fit(*images[:2], epochs=1, verbose=0)
    dlviz.flush(60)
    found = dlviz.load(runs()[0].info.run_id, "activations")
    [convolution] = [leaf for leaf in found if "conv2d" in leaf]
    assert len(found[convolution][0]["values"]) == 2
    assert mlflow.active_run() is None
