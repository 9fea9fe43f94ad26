// Curves, second part: one panel's figure.
"use strict";

const curvesPanel = curves && (() => {
  const DASH = { train: "solid", val: "dashed" };
  // More points than this in one figure are slow to draw and not to be told apart.
  const POINTS = 40_000;
  const FAINT = 50;
  const finite = Number.isFinite;
  const fields = (...names) => names.map((field) => ({ field }));
  const drawable = (panel, value) => finite(value) && (!panel.log || value > 0);
  const masked = (panel, ys) => (panel.log ? Float64Array.from(ys, (value) => (value > 0 ? value : NaN)) : ys);

  // Hairlines cost a third of wider ones.
  const widthOf = (count) => (count > 100 ? 1 : count > 40 ? 1.5 : 2);

  function thinned(panel, { xs, ys }, count) {
    const width = panel.chart.clientWidth || 400;
    const stretches = Math.max(16, Math.min(width, Math.floor(POINTS / 2 / Math.max(1, count))));
    const found = series.thin(xs, ys, { ...panel.window, stretches });
    return { xs: found.xs, ys: masked(panel, found.ys) };
  }

  function lineData(panel, drawn, count = panel.shown.length) {
    const points = drawn.map((curve) => thinned(panel, curve, count));
    return { xs: points.map(({ xs }) => xs), ys: points.map(({ ys }) => ys), colour: drawn.map(({ colour }) => colour),
      dash: drawn.map(({ half }) => DASH[half]), width: drawn.map(() => widthOf(count)) };
  }

  function rawData(panel) {
    const few = curves.weight > 0 && panel.shown.length <= FAINT;
    const runs = few ? panel.shown.filter(({ line }) => line) : [];
    return lineData(panel, runs.map((curve) => ({ ...curve, ...curvesDrawn.onAxis(curve.line, curve.line.raw) })));
  }

  // Where an interval has both ends, the upper one on the axis, from one step to the next.
  function stretchesOf(panel, ends) {
    const found = [];
    ends[0].forEach((low, place) => {
      if (!finite(low) || !drawable(panel, ends[1][place])) return;
      const last = found.at(-1);
      if (last && last.at(-1) === place - 1) last.push(place);
      else found.push([place]);
    });
    return found;
  }

  function bandData(panel) {
    const data = { xs: [], ys: [], colour: [] };
    for (const { xs, ys, ends, colour } of panel.shown.filter((curve) => curve.ends)) {
      // On a logarithmic axis an interval that reaches zero ends below the lowest value there is.
      const floor = panel.log ? ys.reduce((least, y) => (y > 0 && y < least ? y : least), Infinity) / 2 : -Infinity;
      for (const places of stretchesOf(panel, ends)) {
        const back = [...places].reverse();
        data.xs.push([...places, ...back].map((place) => xs[place]));
        data.ys.push([...places.map((place) => Math.max(floor, ends[0][place])), ...back.map((place) => ends[1][place])]);
        data.colour.push(colour);
      }
    }
    return data;
  }

  // A line needs two neighbours; a lone value, or few, are shown as dots, hollow ones on validation data.
  function dotData(panel) {
    const dots = { x: [], y: [], colour: [], fill: [] };
    for (const { xs, ys, colour, half } of panel.shown) {
      const few = ys.length <= 5;
      if (!few && panel.shown.length > FAINT) continue;
      ys.forEach((value, place) => {
        const alone = !finite(ys[place - 1]) && !finite(ys[place + 1]);
        if (!drawable(panel, value) || !(few || alone)) return;
        dots.x.push(xs[place]);
        dots.y.push(value);
        dots.colour.push(colour);
        dots.fill.push(half === "val" ? css("--bg") : colour);
      });
    }
    return dots;
  }

  function lastDrawable(panel, ys, before = ys.length) {
    let place = before - 1;
    while (place >= 0 && !drawable(panel, ys[place])) place--;
    return place;
  }

  // A mark at the end of each line tells apart what shares a colour.
  function endData(panel) {
    const marks = { x: [], y: [], colour: [], marker: [] };
    if (curves[curves.view === "groups" ? "groups" : "clocks"].length <= HUES.light.length || panel.shown.length > FAINT) return marks;
    for (const { xs, ys, colour, place } of panel.shown) {
      const last = lastDrawable(panel, ys);
      if (last < 0) continue;
      marks.x.push(xs[last]);
      marks.y.push(ys[last]);
      marks.colour.push(colour);
      marks.marker.push(shapeOf(place));
    }
    return marks;
  }

  // NaN and infinity have no height: a cross at the first of each, as high as the last value before it.
  function badData(panel) {
    const marks = { x: [], y: [], colour: [] };
    for (const { line, colour } of panel.shown) {
      for (const [step] of (line && line.bad) || []) {
        const { xs, ys } = curvesDrawn.onAxis(line, line.raw);
        const place = series.nearest(line.raw.steps, step);
        const before = lastDrawable(panel, ys, place);
        const height = before < 0 ? ys.find((value) => drawable(panel, value)) : ys[before];
        if (height === undefined) continue;
        marks.x.push(xs[place]);
        marks.y.push(height);
        marks.colour.push(colour);
      }
    }
    return marks;
  }

  const isFocused = (curve) => curves.focus !== null &&
    (curves.focus.group === undefined ? curve.run === curves.focus.run : curve.group === curves.focus.group);

  // Of a line all that it has, however few of its points came.
  const lostIn = ({ line, ys }) => (line ? line.lost || 0 : ys.filter((value) => value <= 0).length);

  function noteOf(panel) {
    const lines = panel.lines.filter(curvesDrawn.lineShown);
    const runs = new Set(panel.lines.map(({ run }) => run).filter(isShown)).size;
    const all = data.runs.filter((_, run) => isShown(run)).length;
    const bad = new Set(lines.filter((line) => line.bad).map(({ run }) => run)).size;
    const lost = panel.log ? panel.shown.reduce((sum, curve) => sum + lostIn(curve), 0) : 0;
    return [
      runs < all ? `in ${runs} of ${all} runs` : "",
      bad ? `✕ not finite${data.runs.length > 1 ? ` in ${bad}` : ""}` : "",
      lost ? `${lost} value${lost === 1 ? "" : "s"} ≤ 0 not shown` : "",
    ].filter(Boolean).join(" · ");
  }

  function refreshFocus(panel) {
    if (panel.sources) panel.sources.focus.data = lineData(panel, panel.shown.filter(isFocused), 1);
  }

  function refresh(panel) {
    panel.shown = curvesDrawn.shown(panel);
    panel.note.textContent = panel.note.title = noteOf(panel);
    if (!panel.sources) return;
    const of = (half) => lineData(panel, panel.shown.filter((curve) => curve.half === half));
    const found = { band: bandData(panel), raw: rawData(panel), train: of("train"), val: of("val"), dots: dotData(panel),
      ends: endData(panel), bad: badData(panel) };
    for (const [name, each] of Object.entries(found)) panel.sources[name].data = each;
    refreshFocus(panel);
  }

  const AXES = {
    step: (panel) => ({ x_axis_label: panel.axis }),
    relative: () => ({ x_axis_label: `${curves.unit} since the run's start` }),
    wall: () => ({ x_axis_label: "date (UTC)", x_axis_type: "datetime" }),
  };

  function addGlyphs(panel, figure) {
    const source = () => new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], x: [], y: [], colour: [], fill: [], dash: [], width: [], marker: [] } });
    const names = ["band", "raw", "train", "val", "dots", "ends", "bad", "focus"];
    panel.sources = Object.fromEntries(names.map((name) => [name, source()]));
    const [colour, fill, dash, width, marker] = fields("colour", "fill", "dash", "width", "marker");
    const lines = (name, options) => figure.multi_line(...fields("xs", "ys"),
      { source: panel.sources[name], line_color: colour, line_join: "bevel", ...options });
    const marks = (name, options) => figure.scatter(...fields("x", "y"), { source: panel.sources[name], ...options });
    figure.patches(...fields("xs", "ys"), { source: panel.sources.band, fill_color: colour, fill_alpha: 0.16, line_color: null });
    lines("raw", { line_alpha: 0.28, line_width: 1, line_dash: dash });
    lines("train", { line_width: width });
    lines("val", { line_width: width, line_dash: "dashed" });
    marks("dots", { size: 6, line_color: colour, line_width: 1.5, fill_color: fill });
    marks("ends", { size: 8, marker, fill_color: colour, line_color: css("--bg") });
    marks("bad", { marker: "x", size: 10, line_width: 2, line_color: colour });
    // Above the rest, on a canvas of its own: what follows the pointer leaves the lines as they are.
    lines("focus", { level: "overlay", line_color: css("--bg"), line_width: 6, line_alpha: 0.7 });
    lines("focus", { level: "overlay", line_width: 3, line_dash: dash });
    panel.cursor = new Bokeh.Span({ dimension: "height", level: "overlay", line_color: css("--muted"), line_dash: "dotted", visible: false });
    figure.add_layout(panel.cursor);
  }

  function follow(panel, figure) {
    figure.on_event("rangesupdate", ({ x0, x1 }) => {
      panel.window = { from: Math.min(x0, x1), to: Math.max(x0, x1) };
      curvesQueue.add(panel);
    });
    figure.on_event("reset", () => {
      panel.window = null;
      curvesQueue.add(panel);
    });
  }

  async function draw(panel) {
    const turn = ++panel.turn;
    if (panel.view) panel.view.remove();
    panel.view = panel.window = null;
    panel.chart.replaceChildren();
    const figure = chartFigure({ y_axis_type: panel.log ? "log" : "linear", ...AXES[curves.over](panel) });
    if (curves.over === "step") tickWholes(figure);
    addGlyphs(panel, figure);
    refresh(panel);
    follow(panel, figure);
    curvesHover.watch(panel, figure);
    const view = await Bokeh.Plotting.show(figure, panel.chart);
    if (turn === panel.turn) panel.view = view;
    else view.remove();
  }

  return { draw, noteOf, refresh, refreshFocus };
})();

// One panel a frame, those in view first, the others when there is time.
const curvesQueue = curves && (() => {
  const waiting = new Map();
  let asked = false;

  let resting = false;

  function take(isNext) {
    const next = [...waiting.keys()].find(isNext);
    if (!next) return false;
    const anew = waiting.get(next) || !next.sources;
    waiting.delete(next);
    (anew ? curvesPanel.draw : curvesPanel.refresh)(next);
    wake();
    return true;
  }
  function work() {
    asked = false;
    if (take((panel) => panel.inView) || resting) return;
    resting = true;
    whenIdle(() => {
      resting = false;
      take((panel) => panel.box.offsetParent);
    });
  }
  function wake() {
    if (!asked && waiting.size) requestAnimationFrame(work);
    asked = waiting.size > 0;
  }
  function add(panel, anew = false) {
    waiting.set(panel, anew || Boolean(waiting.get(panel)));
    wake();
  }
  return { add, wake };
})();
