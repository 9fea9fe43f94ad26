"""How long a report takes to build and to draw, and how large it is, against other ways to draw the same.

Runs are made in memory: 100 settings with 5 seeds each, 6 metrics of 500 steps. Building is CPU time of this
process; drawing is CPU time of the main thread of a headless Chromium, until the page shows its first curves.

    python benchmarks/report.py              # about 5 minutes; peers that are installed: plotly, altair[all]
    python benchmarks/report.py --only ema   # one part: size, draw, large, ema or slider
    python benchmarks/report.py --quick      # only whether it works

What a fetch takes is in ``fetch_runs.py``, how often intervals hold in ``coverage.py``.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browsing import find_chromium, launch  # noqa: E402

from mlflow_dlviz.reporting.analysis import Analysis, analyse
from mlflow_dlviz.reporting.bundle import Bundle, Frame, Query, RunData
from mlflow_dlviz.reporting.compaction import extremes, moving_average
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.reporting.page import render
from mlflow_dlviz.reporting.sections import curves
from mlflow_dlviz.store.histories import Series

METRICS = ("loss", "val_loss", "accuracy", "val_accuracy", "mcc", "val_mcc")
SEEDS = 5


# ---- what is drawn ------------------------------------------------------------------------------------------


def values_of(rng: np.random.Generator, metric: str, steps: int) -> np.ndarray:
    falling = np.exp(-np.arange(steps) / rng.uniform(0.1, 0.4) / steps) + 0.02 * rng.standard_normal(steps)
    return falling + 0.1 if "loss" in metric else 1 - 0.8 * falling


def make_runs(count: int, steps: int, frames: tuple[Frame, ...] = ()) -> tuple[RunData, ...]:
    rng = np.random.default_rng(0)
    times = 1_700_000_000_000 + 1000 * np.arange(steps)
    return tuple(
        RunData(
            id=f"{number:032x}",
            name=f"run-{number}",
            experiment="bench",
            status="FINISHED",
            start=1_700_000_000_000,
            seconds=float(steps),
            params={
                "lr": f"{number // SEEDS / 1e4:g}",
                "units": str(number // SEEDS % 7),
                "seed": str(number % SEEDS),
            },
            tags={"dlviz.status": "ok"},
            histories={
                metric: Series(np.arange(steps), values_of(rng, metric, steps), times) for metric in METRICS
            },
            frames=frames,
        )
        for number in range(count)
    )


def analysed(runs: tuple[RunData, ...], **options: Any) -> Analysis:
    return analyse(Bundle(Query("bench", ("bench",)), runs), Options(**options), generated=0.0)


# ---- the same by others -------------------------------------------------------------------------------------


def by_plotly(runs: tuple[RunData, ...]) -> str:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=3, cols=2, subplot_titles=METRICS)
    for place, metric in enumerate(METRICS):
        for run in runs:
            series = run.histories[metric]
            line = go.Scattergl(x=series.steps, y=series.values, name=run.name, mode="lines", showlegend=False)
            figure.add_trace(line, row=place // 2 + 1, col=place % 2 + 1)
    return figure.to_html(include_plotlyjs=True)


def by_altair(runs: tuple[RunData, ...]) -> str:
    import altair
    import pandas

    altair.data_transformers.disable_max_rows()
    rows = [
        pandas.DataFrame({"step": series.steps, "value": series.values, "run": run.name, "metric": metric})
        for run in runs
        for metric, series in run.histories.items()
    ]
    chart = altair.Chart(pandas.concat(rows)).mark_line().encode(x="step", y="value", color="run")
    return chart.facet("metric", columns=2).to_html(inline=True)


def by_us(runs: tuple[RunData, ...]) -> str:
    return render(analysed(runs))


WAYS: dict[str, tuple[str, Callable[[tuple[RunData, ...]], str], str]] = {
    "mlflow-dlviz": ("bokeh", by_us, "canvas"),
    "plotly": ("plotly", by_plotly, ".main-svg"),
    "Altair": ("vl_convert", by_altair, "canvas"),
}


def installed() -> list[str]:
    return [name for name, (module, _, _) in WAYS.items() if importlib.util.find_spec(module)]


# ---- the browser --------------------------------------------------------------------------------------------


@contextmanager
def tab() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = launch(driver, find_chromium() or "chromium")
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(300_000)
        yield page
        browser.close()


def draw_seconds(page: Any, path: Path, drawn: str, button: str = "") -> tuple[float, float]:
    """CPU seconds of the main thread, and seconds by the clock, until ``drawn`` is there and all is quiet."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    began = time.perf_counter()
    page.goto(path.as_uri())
    if button:
        page.locator(button).click()
    page.locator(drawn).first.wait_for(state="attached")
    page.evaluate("new Promise(done => requestIdleCallback(() => requestIdleCallback(done)))")
    clock = time.perf_counter() - began
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return found["TaskDuration"], clock


# ---- the parts ----------------------------------------------------------------------------------------------


def size(quick: bool, folder: Path) -> None:
    click.echo("| runs × metrics × steps | made by | build, CPU s | file, MB |\n|---|---|---:|---:|")
    for count in (10,) if quick else (50, 500):
        runs = make_runs(count, 500)
        for name in installed():
            began = time.process_time()
            html = WAYS[name][1](runs)
            took = time.process_time() - began
            (folder / f"{name}-{count}.html").write_text(html, encoding="utf-8")
            click.echo(f"| {count} × 6 × 500 | {name} | {took:.1f} | {len(html.encode()) / 1e6:.1f} |")


def draw(quick: bool, folder: Path) -> None:
    count = 10 if quick else 500
    runs = make_runs(count, 500)
    # Altair's page of so many points takes a minute or more.
    click.echo("| runs × metrics × steps | made by | main thread, CPU s | until drawn, s |\n|---|---|---:|---:|")
    for name in [name for name in installed() if name != "Altair"]:
        path = folder / f"{name}-{count}.html"
        if not path.exists():
            path.write_text(WAYS[name][1](runs), encoding="utf-8")
        with tab() as page:
            button = "[data-go=curves]" if name == "mlflow-dlviz" else ""
            cpu, clock = draw_seconds(page, path, WAYS[name][2], button)
        click.echo(f"| {count} × 6 × 500 | {name} | {cpu:.1f} | {clock:.1f} |")


def large(quick: bool, folder: Path) -> None:
    count = 100 if quick else 2000
    began = time.process_time()
    html = render(analysed(make_runs(count, 500), max_mb=20.0))
    took = time.process_time() - began
    path = folder / "large.html"
    path.write_text(html, encoding="utf-8")
    with tab() as page:
        cpu, clock = draw_seconds(page, path, "canvas", "[data-go=curves]")
        pressed = page.locator("#curves [aria-pressed=true]").all_inner_texts()
    click.echo(
        "| runs, --max-mb 20 | build, CPU s | file, MB | main thread, CPU s | until drawn, s | shown first |"
    )
    click.echo("|---|---:|---:|---:|---:|---|")
    shown = ", ".join(text.strip() for text in pressed if text.strip() in ("Groups", "Runs"))
    click.echo(f"| {count} | {took:.1f} | {len(html.encode()) / 1e6:.1f} | {cpu:.1f} | {clock:.1f} | {shown} |")


def ema(quick: bool, folder: Path) -> None:
    """Curves of 10,000 steps in 250 points: what is drawn smoothed, against the moving average of all values."""
    rng = np.random.default_rng(1)
    weights = curves.STOPS[1:]
    errors: dict[str, list[list[float]]] = {"ours": [], "of every n-th value": [], "of lowest and highest": []}
    for _ in range(5 if quick else 100):
        values = values_of(rng, "loss", 10_000)
        for found, made in zip(errors.values(), smoothed_by_each(values, 250, weights), strict=True):
            found.append(made)
    click.echo("| moving average of a shortened curve | " + " | ".join(map(str, weights)) + " | mean |")
    click.echo("|---|" + "---:|" * (len(weights) + 1))
    for name, found in errors.items():
        means = [*np.mean(found, axis=0), np.mean(found)]
        click.echo(f"| {name} | " + " | ".join(f"{mean:.2%}" for mean in means) + " |")


def smoothed_by_each(values: np.ndarray, count: int, weights: tuple[float, ...]) -> list[list[float]]:
    """The mean error of each way at the places that it draws, by weight, as a part of the range of ``values``."""
    span = values.max() - values.min()
    ours, nth, extreme = [], [], []
    every = np.arange(0, len(values), len(values) // count)
    kept = extremes(values, count)
    for weight in weights:
        exact = moving_average(values, weight)
        even, drawn = what_we_draw(values, count, weight)
        ours.append(float(np.abs(drawn - exact[even]).mean() / span))
        nth.append(float(np.abs(moving_average(values[every], weight) - exact[every]).mean() / span))
        extreme.append(float(np.abs(moving_average(values[kept], weight) - exact[kept]).mean() / span))
    return [ours, nth, extreme]


def what_we_draw(values: np.ndarray, count: int, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and averages as the page's script has them, through their encoding."""
    from mlflow_dlviz.reporting import encode
    from mlflow_dlviz.reporting.compaction import compact

    short = compact(values, count, [weight])
    sent = encode.scaled(short.smoothed.ravel(), logarithmic=True)
    parts = np.frombuffer(base64.b64decode(sent["parts"]), "<u2") / 65534
    low, high = sent["low"], sent["high"]
    drawn = low * (high / low) ** parts if sent["ratios"] else low + (high - low) * parts
    return short.even, drawn


def slider(quick: bool, folder: Path) -> None:
    runs, epochs = (3, 3) if quick else (20, 20)
    rng = np.random.default_rng(2)
    made = []
    for run in make_runs(runs, epochs):
        keys = [f"{kind}/x" for kind in ("activations", "boundary")]
        frames = tuple(Frame(key, epoch, webp(rng)) for key in keys for epoch in range(epochs))
        made.append(RunData(**{**vars(run), "frames": frames}))
    path = folder / "slider.html"
    path.write_text(render(analysed(tuple(made))), encoding="utf-8")
    with tab() as page:
        page.goto(path.as_uri())
        page.locator("[data-go=pictures]").click()
        page.wait_for_timeout(1500)
        steps = [page.evaluate(STEP, number) for number in range(epochs)]
    click.echo("| pictures | a step, ms: median | worst |\n|---|---:|---:|")
    click.echo(f"| {runs} runs × {epochs} epochs × 2 | {np.median(steps):.0f} | {max(steps):.0f} |")


STEP = """async (number) => {
  const slider = document.getElementById("epoch");
  const began = performance.now();
  slider.value = number;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const shown = [...document.querySelectorAll(".tile img")].filter((image) => {
    const box = image.getBoundingClientRect();
    return image.src && box.bottom > 0 && box.top < innerHeight;
  });
  await Promise.all(shown.map((image) => image.decode().catch(() => null)));
  await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - began;
}"""


def webp(rng: np.random.Generator) -> bytes:
    """A picture as ours are: 450 pixels wide, a grid of maps."""
    from PIL import Image

    maps = np.kron(rng.integers(0, 255, (12, 18), dtype=np.uint8), np.ones((25, 25), np.uint8))
    out = io.BytesIO()
    Image.fromarray(maps).convert("RGB").save(out, "WEBP", quality=80, method=2)
    return out.getvalue()


PARTS = {"size": size, "draw": draw, "large": large, "ema": ema, "slider": slider}


@click.command()
@click.option("--quick", is_flag=True, help="Few runs; only whether it works.")
@click.option("--only", type=click.Choice(list(PARTS)), help="One part.")
def main(quick: bool, only: str | None) -> None:
    """Print a table for each part."""
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        for part, measure in PARTS.items():
            if only in (None, part):
                measure(quick, Path(name))
                click.echo()


if __name__ == "__main__":
    main()
