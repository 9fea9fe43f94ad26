// Curves: a Bokeh panel per metric, drawn when it comes into view; one hover for all of them.
"use strict";

(() => {
  const given = dataOf("curves");
  if (!given) return;
  const halves = { train: true, val: true };
  const panels = given.panels.map((panel) => ({ ...panel, log: false, chart: null, view: null }));
  const finite = Number.isFinite;
  let focus = null;

  for (const panel of panels) {
    for (const line of panel.lines) {
      line.x = line.x || line.y.map((_, place) => place);
      line.y = line.y.map((value) => (value === null ? NaN : value));
    }
  }

  const visible = (panel) => panel.lines.filter((line) => isShown(line.run) && halves[line.half]);
  const drawable = (panel, value) => finite(value) && (!panel.log || value > 0);

  function lineData(panel, half) {
    const lines = visible(panel).filter((line) => line.half === half);
    return {
      xs: lines.map((line) => line.x),
      ys: lines.map((line) => line.y.map((value) => (drawable(panel, value) ? value : NaN))),
      colour: lines.map((line) => colourOf(line.run, line.half)),
      alpha: lines.map((line) => (focus === null || focus === line.run ? 1 : 0.12)),
    };
  }

  // A line needs two neighbours; a lone value, or few, are shown as dots.
  function dotData(panel) {
    const dots = { x: [], y: [], colour: [] };
    for (const line of visible(panel)) {
      const few = line.y.length <= 5;
      line.y.forEach((value, place) => {
        const alone = !finite(line.y[place - 1]) && !finite(line.y[place + 1]);
        if (!drawable(panel, value) || !(few || alone)) return;
        dots.x.push(line.x[place]);
        dots.y.push(value);
        dots.colour.push(colourOf(line.run, line.half));
      });
    }
    return dots;
  }

  // NaN and infinity have no height: a cross at their first step, as high as the last value before it.
  function badData(panel) {
    const marks = { x: [], y: [], colour: [] };
    for (const line of visible(panel)) {
      if (!line.bad) continue;
      const before = line.y.filter((value, place) => drawable(panel, value) && line.x[place] < line.bad[0]);
      const any = before.length ? before.at(-1) : line.y.find((value) => drawable(panel, value));
      if (any === undefined) continue;
      marks.x.push(line.bad[0]);
      marks.y.push(any);
      marks.colour.push(colourOf(line.run, line.half));
    }
    return marks;
  }

  function noteOf(panel) {
    const runs = new Set(panel.lines.map((line) => line.run)).size;
    const bad = new Set(visible(panel).filter((line) => line.bad).map((line) => line.run)).size;
    const lost = panel.log ? visible(panel).flatMap((line) => line.y).filter((value) => value <= 0).length : 0;
    return [
      runs < data.runs.length ? `in ${runs} of ${data.runs.length} runs` : "",
      bad ? `✕ not finite${data.runs.length > 1 ? ` in ${bad}` : ""}` : "",
      lost ? `${lost} values ≤ 0 not shown` : "",
    ].filter(Boolean).join(" · ");
  }

  function refresh(panel) {
    panel.note.textContent = noteOf(panel);
    if (!panel.sources) return;
    panel.sources.train.data = lineData(panel, "train");
    panel.sources.val.data = lineData(panel, "val");
    panel.sources.dots.data = dotData(panel);
    panel.sources.bad.data = badData(panel);
  }

  function makeFigure(panel) {
    return chartFigure({ x_axis_label: panel.axis, y_axis_type: panel.log ? "log" : "linear" });
  }

  function addGlyphs(panel, figure) {
    const source = () => new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], x: [], y: [], colour: [], alpha: [] } });
    panel.sources = { train: source(), val: source(), dots: source(), bad: source() };
    const colour = { field: "colour" };
    const width = data.runs.length > 20 ? 1.2 : 2;
    for (const [half, dash] of [["train", "solid"], ["val", "dashed"]]) {
      figure.multi_line({ field: "xs" }, { field: "ys" },
        { source: panel.sources[half], line_color: colour, line_alpha: { field: "alpha" }, line_width: width, line_dash: dash });
    }
    figure.scatter({ field: "x" }, { field: "y" }, { source: panel.sources.dots, size: 5, color: colour });
    figure.scatter({ field: "x" }, { field: "y" },
      { source: panel.sources.bad, marker: "x", size: 10, line_width: 2, line_color: colour });
    panel.cursor = new Bokeh.Span({ dimension: "height", line_color: css("--muted"), line_dash: "dotted", visible: false });
    figure.add_layout(panel.cursor);
  }

  async function draw(panel) {
    if (panel.view) panel.view.remove();
    panel.chart.replaceChildren();
    const figure = makeFigure(panel);
    addGlyphs(panel, figure);
    refresh(panel);
    figure.on_event("mousemove", (event) => hover(panel, event));
    figure.on_event("mouseleave", () => hover(null));
    figure.on_event("tap", (event) => hover(panel, event));
    panel.view = await Bokeh.Plotting.show(figure, panel.chart);
  }

  function nearest(line, x) {
    let found = -1;
    for (let place = 0; place < line.x.length; place++) {
      if (found < 0 || Math.abs(line.x[place] - x) < Math.abs(line.x[found] - x)) found = place;
    }
    return found;
  }

  // The step under the pointer is the nearest that any shown line has; a line without it is left out.
  function readings(panel, x, y) {
    const near = visible(panel).map((line) => ({ line, place: nearest(line, x) })).filter(({ place }) => place >= 0);
    const gap = Math.min(...near.map(({ line, place }) => Math.abs(line.x[place] - x)));
    const at = near.find(({ line, place }) => Math.abs(line.x[place] - x) === gap);
    if (!at) return { step: null, found: [] };
    const step = at.line.x[at.place];
    const found = near.filter(({ line, place }) => line.x[place] === step)
      .map(({ line, place }) => ({ line, value: line.y[place] }));
    found.sort((a, b) => Math.abs(a.value - y) - Math.abs(b.value - y) || a.line.run - b.line.run);
    return { step, found };
  }

  function tipRows(panel, { step, found }) {
    const rows = found.slice(0, 8).map(({ line, value }) => {
      const half = { train: "training", val: "validation" }[line.half];
      const name = data.runs.length > 1 ? `${data.runs[line.run].label}` : half;
      const more = data.runs.length > 1 && line.half === "val" ? [make("span", { class: "note" }, "val.")] : [];
      const shown = finite(value) ? String(Number(value.toPrecision(5))) : "not finite";
      return make("div", {}, dot(line.run, line.half), make("span", { class: "name", dir: "auto" }, name), ...more, make("b", {}, shown));
    });
    const rest = found.length > 8 ? [make("div", { class: "note" }, `and ${found.length - 8} more`)] : [];
    return [make("div", { class: "note" }, `${panel.axis} ${step}`), ...rows, ...rest];
  }

  // Beside the pointer, on the side where the window has room.
  function placeTip(panel, event) {
    const frame = panel.box.getBoundingClientRect();
    const pointer = frame.left + panel.chart.offsetLeft + event.sx;
    const width = panel.tip.offsetWidth;
    const right = pointer + 14;
    const wanted = right + width < innerWidth ? right : pointer - 14 - width;
    panel.tip.style.left = `${Math.max(4, wanted) - frame.left}px`;
    panel.tip.style.top = `${panel.chart.offsetTop + 24}px`;
  }

  let asked = 0;
  function hover(panel, event) {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      const told = panel ? readings(panel, event.x, event.y) : { step: null };
      for (const each of panels) {
        if (!each.cursor) continue;
        each.tip.hidden = each !== panel || told.step === null;
        if (told.step !== null) each.cursor.location = told.step;
        each.cursor.visible = told.step !== null;
      }
      if (told.step === null) return;
      panel.tip.replaceChildren(...tipRows(panel, told));
      placeTip(panel, event);
    });
  }

  function setLog(panel, on) {
    if (panel.log === on) return;
    panel.log = on;
    panel.button.setAttribute("aria-pressed", String(on));
    refresh(panel);
    if (panel.sources) draw(panel);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const panel = panels.find((each) => each.box === target);
      if (!isIntersecting || panel.sources) continue;
      seen.unobserve(target);
      draw(panel);
    }
  }, { rootMargin: "400px" });

  function addPanel(panel) {
    panel.chart = make("div", { class: "chart", role: "img", "aria-label": `${panel.name} by ${panel.axis}` });
    panel.tip = make("div", { class: "tip", role: "status", hidden: "" });
    panel.note = make("span", { class: "note" });
    panel.button = make("button", { type: "button", "aria-pressed": "false", title: "Logarithmic y axis" }, "log");
    panel.button.addEventListener("click", () => setLog(panel, !panel.log));
    const title = make("h3", {}, make("span", { class: "what", title: panel.name }, panel.name), panel.note, panel.button);
    panel.box = make("article", { class: "panel" }, title, panel.chart, panel.tip);
    byId(panel.main ? "panels" : "more-panels").append(panel.box);
    panel.note.textContent = noteOf(panel);
    seen.observe(panel.box);
  }

  function showLegend() {
    const legend = byId("legend");
    if (!legend) return;
    legend.replaceChildren(...data.runs.flatMap((run, place) => {
      if (!matching[place]) return [];
      const button = make("button", { type: "button", "aria-pressed": String(ticked[place]), title: run.label },
        dot(place), run.label);
      button.dataset.run = place;
      button.addEventListener("click", () => {
        focus = null;
        setTicked(place, !ticked[place]);
        legend.querySelector(`[data-run="${place}"]`).focus();
      });
      button.addEventListener("mouseenter", () => setFocus(place));
      button.addEventListener("mouseleave", () => setFocus(null));
      return [button];
    }));
  }

  // Colours repeat after seven runs: resting on a name fades the others.
  function setFocus(run) {
    focus = run;
    panels.forEach(refresh);
  }

  function paintHalves() {
    if (data.runs.length > 1) return;
    for (const button of document.querySelectorAll(".half")) {
      button.firstElementChild.style.color = colourOf(0, button.dataset.half);
    }
  }

  function wireTools() {
    paintHalves();
    byId("log").addEventListener("change", (event) => panels.forEach((panel) => setLog(panel, event.target.checked)));
    for (const button of document.querySelectorAll(".half")) {
      const { half } = button.dataset;
      button.hidden = !panels.some((panel) => panel.lines.some((line) => line.half === half));
      button.addEventListener("click", () => {
        halves[half] = !halves[half];
        button.setAttribute("aria-pressed", String(halves[half]));
        panels.forEach(refresh);
      });
    }
    dark.addEventListener("change", () => {
      paintHalves();
      panels.filter((panel) => panel.sources).forEach(draw);
    });
  }

  panels.forEach(addPanel);
  const folded = panels.filter((panel) => !panel.main).length;
  byId("more").hidden = folded === 0;
  byId("more").querySelector("summary").textContent = `${folded} more metric${folded === 1 ? "" : "s"}`;
  wireTools();
  showLegend();
  watchers.push(showLegend, () => panels.forEach(refresh));
})();
