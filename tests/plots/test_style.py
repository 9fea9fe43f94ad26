"""Text, bytes and independence of the user's matplotlib."""

import io
import subprocess
import sys
import threading
import warnings

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image

from mlflow_dlviz import plots
from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots import curves
from mlflow_dlviz.plots._text import number, percent, text


def picture(title="run"):
    return curves.draw(names=np.array(["loss"]), epochs=np.arange(3), values=np.ones((1, 3)), title=title)


def decode(data):
    return Image.open(io.BytesIO(data))


def test_what_the_drawing_font_has_is_drawn():
    """Other faces of the same name, thin ones, may be installed, and have fewer characters."""
    assert text("n ≥ 3, α → β, ½ × Ω, R²") == "n ≥ 3, α → β, ½ × Ω, R²"


@given(st.text(max_size=80), st.integers(2, 40))
def test_any_name_becomes_one_short_line_that_draws_without_a_warning(name, width):
    line = text(name, width)
    assert len(line.replace(r"\$", "$")) <= width
    assert line.isprintable()
    assert "$" not in line.replace(r"\$", "")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cost in $ or $$", r"cost in \$ or \$\$"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("a\n\tb\x00c", "a b c"),
        ("x" * 500, "x" * 5 + "…" + "x" * 4),
    ],
)
def test_names_are_taken_literally(name, line):
    width = 10 if len(name) > 40 else 40
    assert text(np.array(name), width) == line


@pytest.mark.parametrize("name", ["$x_1$", "👩‍👩‍👧 家族", "مرحبا", "\ud800", r"\frac{$", "a" * 10**6])
def test_strange_names_render_with_warnings_as_errors(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.encode(picture(name))


@pytest.mark.parametrize(
    ("value", "line"),
    [(0, "0"), (-0.5, "−0.5"), (0.00025, "2.5e−4"), (0.001, "1e−3"), (1234, "1234"), (1e300, "1e300")],
)
def test_numbers_are_short(value, line):
    assert number(value) == line


def test_percent_never_rounds_to_none_or_all():
    assert [percent(x) for x in (0, 0.001, 0.5, 0.999, 1, np.nan)] == [
        "0 %",
        "<1 %",
        "50 %",
        ">99 %",
        "100 %",
        "? %",
    ]


def test_png_is_opaque_rgb_and_equals_what_agg_drew():
    figure = picture()
    image = decode(plots.encode(figure))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (style.WIDTH, style.HEIGHT))
    file = io.BytesIO()
    figure.savefig(file, dpi="figure")
    np.testing.assert_array_equal(np.asarray(image), np.asarray(decode(file.getvalue()).convert("RGB")))


def test_transparent_figures_come_out_on_white():
    figure = Figure(figsize=(1, 2), facecolor="none")
    pixels = np.asarray(decode(plots.encode(figure)))
    assert pixels.shape == (200, 100, 3)
    assert (pixels == 255).all()


def test_encoding_leaves_the_canvas_of_a_figure():
    figure = picture()
    before = figure.canvas
    plots.encode(figure)
    assert figure.canvas is before


@pytest.mark.parametrize("shape", [(750, 500), (500, 750), (300, 300), (900, 7)])
def test_a_thumbnail_is_a_square_with_the_picture_at_its_top(shape):
    file = io.BytesIO()
    Image.new("RGB", shape, "red").save(file, "png")
    small = decode(plots.thumbnail(file.getvalue()))
    assert (small.format, small.size) == ("WEBP", (256, 256))
    width, height = compress_image_size(Image.new("RGB", shape), 256).size
    shown = np.asarray(small.convert("RGBA"))[..., 3] > 128
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    assert (rows[0], len(rows), len(columns)) == (0, height, width)


def test_the_users_style_does_not_reach_the_picture():
    expected = plots.encode(picture())
    dark = {
        "text.color": "white", "axes.facecolor": "black", "figure.facecolor": "black", "font.size": 30,
        "axes.edgecolor": "white", "xtick.color": "white", "axes.grid": True, "text.usetex": True,
        "font.family": "serif", "figure.autolayout": True, "savefig.facecolor": "black",
    }  # fmt: skip
    with matplotlib.rc_context(dark):
        assert plots.encode(picture()) == expected


def test_rcparams_are_left_alone():
    before = dict(matplotlib.rcParams)
    plots.encode(picture())
    assert dict(matplotlib.rcParams) == before


def test_pyplot_and_the_frameworks_are_never_imported():
    code = (
        "import sys, numpy as np\n"
        "from mlflow_dlviz import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "for name in ('activations', 'boundary', 'curves', 'probabilities'): plots.plot_for(name)\n"
        "plots.encode(plots.curves.draw(names=np.array(['loss']), epochs=np.arange(2), values=np.ones((1, 2))))\n"
        "assert not {'matplotlib.pyplot', 'keras', 'tensorflow', 'mlflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_threads_draw_the_same_picture():
    expected, drawn = plots.encode(picture()), []
    threads = [threading.Thread(target=lambda: drawn.append(plots.encode(picture()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [expected] * 4


def test_plots_are_found_by_name():
    assert plots.plot_for("curves") is curves.draw
    with pytest.raises(KeyError, match="nothing.*activations"):
        plots.plot_for("nothing")
    with pytest.raises(AttributeError):
        _ = plots.nothing


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_round_ticks_lie_within_the_limits(low, span):
    ticks = style.round_ticks(low, low + span)
    assert all(
        low - 1e-9 * abs(low) - 1e-9 * span <= tick <= low + span * (1 + 1e-9) + 1e-9 * abs(low) for tick in ticks
    )
    assert 2 <= len(ticks) <= 6


@given(st.integers(1, 500), st.integers(2, 12))
def test_spread_keeps_the_first_and_the_last(count, at_most):
    chosen = style.spread(count, at_most)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1
    assert len(chosen) == len(set(chosen)) == min(count, at_most)


def test_a_picture_has_a_largest_size():
    with pytest.raises(ValueError, match="50000 × 50000 pixels is too large"):
        style.encode(Figure(figsize=(500, 500), dpi=100))
