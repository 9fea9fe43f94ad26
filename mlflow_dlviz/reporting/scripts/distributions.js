// Distributions: histograms, reliability and their course over the epochs, from counts, overlaid by run or group.
"use strict";

(() => {
  const given = dataOf("distributions");
  if (!given) return;
  const { leaves, axis, groups, counted } = given;
  const FEW = 5;
  const MANY = 8;
  // Below so many samples a bin's share says little.
  const SAMPLES = 10;
  const slider = byId("spread-epoch");
  const finite = Number.isFinite;
  const percent = (share) => (share > 0 && share < 5e-5 ? "< 0.01 %" : `${Number((100 * share).toFixed(share < 0.0995 ? 2 : 0))} %`);
  const probability = (value) => (finite(value) ? String(Number(value.toPrecision(3))) : "—");
  let leaf = null;
  let choice = 0;
  let who = "all";
  let steps = [];

  for (const each of leaves) {
    for (const run of each.runs) {
      run.values = unpackFloats(run.values);
      run.spread = unpackFloats(run.spread);
    }
  }

  // ---- what is overlaid -------------------------------------------------------------------------------------
  const stepNow = () => steps[Number(slider.value)];
  const placeAt = (run, step) => run.epochs.findLastIndex((epoch) => epoch <= step);

  // Of the chosen class at one epoch: other samples, own ones, mean scores, a number each per bin.
  function frameOf(run, place) {
    const { bins, names } = leaf;
    const start = (place * (names.length + 1) + choice) * 3 * bins;
    return [0, 1, 2].map((part) => run.values.subarray(start + part * bins, start + (part + 1) * bins));
  }

  // Calibration error, lower quartile, median.
  function spreadOf(run, place) {
    const start = (place * (leaf.names.length + 1) + choice) * 3;
    return run.spread.subarray(start, start + 3);
  }

  const shownRuns = () => leaf.runs.filter(({ run }) => isShown(run));

  function asSeries(run) {
    return { label: data.runs[run.run].label, place: run.run, members: [run], left: 0 };
  }

  function groupSeries() {
    const found = new Map();
    for (const run of shownRuns()) {
      const { group } = data.runs[run.run];
      const series = found.get(group) || { label: groups[group], place: group, members: [], left: 0 };
      if (counted[run.run]) series.members.push(run);
      else series.left += 1;
      found.set(group, series);
    }
    return [...found.values()];
  }

  function allSeries() {
    if (who === "groups") return groupSeries();
    const runs = shownRuns();
    return (who === "best" ? runs.slice(0, FEW) : runs).map(asSeries);
  }

  // The members' counts together, at each one's nearest earlier epoch; null before the first.
  function together(series, step) {
    const at = series.members.map((run) => ({ run, place: placeAt(run, step) })).filter(({ place }) => place >= 0);
    const frames = at.map(({ run, place }) => frameOf(run, place)).filter(([, own]) => finite(own[0]));
    if (!frames.length) return null;
    const sum = (part) => Array.from({ length: leaf.bins }, (_, bin) => frames.reduce((total, frame) => total + part(frame, bin), 0));
    const other = sum((frame, bin) => frame[0][bin]);
    const own = sum((frame, bin) => frame[1][bin]);
    const scores = sum((frame, bin) => (frame[0][bin] + frame[1][bin] > 0 ? (frame[0][bin] + frame[1][bin]) * frame[2][bin] : 0));
    const either = own.map((count, bin) => count + other[bin]);
    const size = (counts) => counts.reduce((total, count) => total + count, 0);
    const epochs = [...new Set(at.map(({ run, place }) => run.epochs[place]))];
    return { other, own, either, scores, ownSize: size(own), otherSize: size(other), epochs };
  }

  let drawn = [];
  const gather = () => allSeries().map((series) => ({ series, now: together(series, stepNow()) }));
  const present = () => drawn.filter(({ now }) => now);

  // ---- the panels -------------------------------------------------------------------------------------------
  const className = () => (choice === 0 ? "" : leaf.names[choice - 1]);
  const kind = () => (leaf.kind === "labels" ? "label" : "class");
  const edge = (bin) => bin / leaf.bins;
  const binAt = (x) => Math.min(leaf.bins - 1, Math.max(0, Math.floor(x * leaf.bins)));
  const binPlaces = () => Array.from({ length: leaf.bins }, (_, bin) => (bin + 0.5) / leaf.bins);
  const binWords = (bin) => `${probability(edge(bin))} to ${probability(edge(bin + 1))}`;

  function outline(counts, size) {
    const shares = counts.map((count) => (size ? Math.sqrt(count / size) : 0));
    return {
      x: [0, ...shares.flatMap((_, bin) => [edge(bin), edge(bin + 1)]), 1],
      y: [0, ...shares.flatMap((share) => [share, share]), 0],
    };
  }

  const histogram = {
    name: "Histogram",
    words: () => (choice === 0 ? `solid: given to the true ${kind()}; dashed: to the others` : "solid: samples of it; dashed: the others"),
    options: () => ({ x_axis_label: choice === 0 ? "predicted probability" : `P(${className()})`, y_axis_label: "share of samples (√ scale)",
      x_range: [0, 1], y_range: [0, 1.03] }),
    places: binPlaces,
    shares: [0, 0.01, 0.1, 0.25, 0.5, 1],
    lines: () => present().flatMap(({ series, now }) => [
      { series, dash: "solid", ...outline(now.own, now.ownSize) },
      { series, dash: "dashed", ...outline(now.other, now.otherSize) },
    ]),
    told(x) {
      const bin = binAt(x);
      const rows = present().map(({ series, now }) => ({ series, size: now.own[bin] / now.ownSize || 0,
        text: `${percent(now.own[bin] / now.ownSize || 0)} · ${percent(now.other[bin] / now.otherSize || 0)}` }));
      return { head: `probability ${binWords(bin)}: own · others`, rows };
    },
  };

  const reliability = {
    name: "Reliability",
    words: () => "on the grey line, probabilities can be taken at their word",
    options: () => ({ x_axis_label: "mean predicted probability", y_axis_label: `share that are of the ${kind()}`, x_range: [-0.02, 1.02],
      y_range: [-0.03, 1.03] }),
    places: binPlaces, diagonal: true, thin: true,
    lines: () => present().map(({ series, now }) => {
      const bins = now.either.flatMap((count, bin) => (count > 0 ? [bin] : []));
      const most = Math.max(...now.either);
      const shares = bins.map((bin) => now.own[bin] / now.either[bin]);
      const known = bins.map((bin) => now.either[bin] >= SAMPLES);
      return { series, dash: "solid", x: bins.map((bin) => now.scores[bin] / now.either[bin]), y: shares.map((share, at) => (known[at] ? share : NaN)),
        dots: shares, alphas: known.map((each) => (each ? 1 : 0.3)), sizes: bins.map((bin) => 4 + 8 * Math.sqrt(now.either[bin] / most)) };
    }),
    told(x) {
      const bin = binAt(x);
      const rows = present().filter(({ now }) => now.either[bin] > 0).map(({ series, now }) => ({ series, size: now.own[bin] / now.either[bin],
        text: `${percent(now.own[bin] / now.either[bin])} of ${Math.round(now.either[bin]).toLocaleString("en")}` }));
      return { head: `probability ${binWords(bin)}`, rows };
    },
  };

  // A group's runs are drawn one by one here: a mean of errors is not the error of their counts.
  const isCrowded = () => drawn.reduce((total, { series }) => total + series.members.length, 0) > 12;

  function courseLines(part, dash) {
    // A lone epoch has no line; few have dots where there is room.
    const few = isCrowded() ? 1 : 5;
    return drawn.flatMap(({ series }) => series.members.map((run) => {
      const places = run.epochs.map((_, place) => place).filter((place) => finite(spreadOf(run, place)[part]));
      return { series, dash, run, x: places.map((place) => run.epochs[place]), y: places.map((place) => spreadOf(run, place)[part]),
        sizes: places.map(() => (places.length <= few ? 6 : 0)) };
    }));
  }

  const epochPlaces = () => [...new Set(drawn.flatMap(({ series }) => series.members.flatMap((run) => run.epochs)))].sort((a, b) => a - b);

  function toldByEpoch(x, parts, words) {
    const known = epochPlaces();
    if (!known.length) return { head: "", rows: [] };
    const step = known.reduce((found, epoch) => (Math.abs(epoch - x) < Math.abs(found - x) ? epoch : found));
    const rows = drawn.flatMap(({ series }) => series.members.flatMap((run) => {
      const values = run.epochs.includes(step) ? parts.map((part) => spreadOf(run, run.epochs.indexOf(step))[part]) : [NaN];
      return finite(values[0]) ? [{ series, run, size: values[0], text: words(values) }] : [];
    }));
    return { head: `${axis} ${step}`, rows };
  }

  const errors = {
    name: "Calibration error",
    words: () => (choice === 0 && leaf.names.length > 1 ? `mean over the ${leaf.kind}` : ""),
    options: () => ({ x_axis_label: axis, y_axis_label: "expected calibration error", y_range: new Bokeh.DataRange1d({ start: 0 }) }),
    places: epochPlaces, cursor: true,
    lines: () => courseLines(0, "solid"),
    told: (x) => toldByEpoch(x, [0], ([error]) => probability(error)),
  };

  const course = {
    name: "Probability of the true class",
    words: () => "solid: median; dashed: lower quartile",
    options: () => ({ x_axis_label: axis, y_axis_label: choice === 0 ? `P(true ${kind()})` : `P(${className()}), its own samples`, y_range: [-0.03, 1.03] }),
    places: epochPlaces, cursor: true,
    lines: () => [...courseLines(2, "solid"), ...courseLines(1, "dashed")],
    told: (x) => toldByEpoch(x, [2, 1], ([median, lower]) => `${probability(median)}, quartile ${probability(lower)}`),
  };

  const panels = [histogram, reliability, errors, course];

  // ---- drawing ----------------------------------------------------------------------------------------------
  function sourceData(lines) {
    return { xs: lines.map(({ x }) => x), ys: lines.map(({ y }) => y), colour: lines.map(({ series }) => hueOf(series.place)) };
  }

  function dotData(lines) {
    const dots = { x: [], y: [], size: [], alpha: [], colour: [], shape: [] };
    for (const { series, x, y, dots: heights = y, alphas, sizes } of lines) {
      (sizes || []).forEach((size, place) => {
        if (!size) return;
        dots.x.push(x[place]);
        dots.y.push(heights[place]);
        dots.alpha.push(alphas ? alphas[place] : 1);
        dots.size.push(size);
        dots.colour.push(hueOf(series.place));
        dots.shape.push(shapeOf(series.place));
      });
    }
    return dots;
  }

  function refresh(panel) {
    panel.note.textContent = panel.words();
    if (!panel.sources) return;
    const lines = panel.lines();
    for (const dash of ["solid", "dashed"]) panel.sources[dash].data = sourceData(lines.filter((line) => line.dash === dash));
    panel.sources.dots.data = dotData(lines);
    if (panel.mark) panel.mark.location = stepNow();
  }

  function addMarks(panel, figure) {
    const muted = css("--muted");
    if (panel.diagonal) figure.line([0, 1], [0, 1], { line_color: muted, line_width: 1.5 });
    if (panel.shares) {
      const places = panel.shares.map(Math.sqrt);
      figure.left[0].ticker = new Bokeh.FixedTicker({ ticks: places });
      figure.left[0].major_label_overrides = new Map(panel.shares.map((share, place) => [places[place], percent(share)]));
    }
    if (panel.cursor) {
      tickWholes(figure);
      panel.mark = new Bokeh.Span({ dimension: "height", line_color: muted, line_dash: "dotted", location: stepNow() });
      figure.add_layout(panel.mark);
    }
  }

  async function draw(panel) {
    if (panel.view) panel.view.remove();
    panel.chart.replaceChildren();
    const figure = chartFigure(panel.options());
    addMarks(panel, figure);
    const source = () => new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], x: [], y: [], size: [], alpha: [], colour: [], shape: [] } });
    panel.sources = { solid: source(), dashed: source(), dots: source() };
    const colour = { field: "colour" };
    for (const dash of ["solid", "dashed"]) {
      figure.multi_line({ field: "xs" }, { field: "ys" },
        { source: panel.sources[dash], line_color: colour, line_width: panel.thin || isCrowded() ? 1 : 2, line_dash: dash });
    }
    figure.scatter({ field: "x" }, { field: "y" },
      { source: panel.sources.dots, size: { field: "size" }, alpha: { field: "alpha" }, marker: { field: "shape" }, color: colour });
    refresh(panel);
    panel.toPixels = (x) => (x - figure.x_range.start) / (figure.x_range.end - figure.x_range.start) * panel.chart.clientWidth;
    for (const event of ["mousemove", "tap"]) figure.on_event(event, (at) => tell(panel, at));
    figure.on_event("mouseleave", () => tell(panel, null));
    panel.view = await Bokeh.Plotting.show(figure, panel.chart);
  }

  // ---- hover ------------------------------------------------------------------------------------------------
  function tipRows({ head, rows }) {
    const sorted = [...rows].sort((a, b) => b.size - a.size).slice(0, MANY);
    const lines = sorted.map(({ series, run, text }) => {
      const name = run ? data.runs[run.run].label : series.label;
      return make("div", {}, groupDot(series.place), make("span", { class: "name", dir: "auto" }, name), make("b", {}, text));
    });
    const rest = rows.length > MANY ? [make("div", { class: "note" }, `and ${rows.length - MANY} more`)] : [];
    return [make("div", { class: "note" }, head), ...lines, ...rest];
  }

  // Beside the pointer, on the side where the window has room.
  function placeTip({ box, chart, tip }, sx) {
    const left = box.getBoundingClientRect().left;
    const pointer = left + chart.offsetLeft + sx;
    const wanted = pointer + 14 + tip.offsetWidth < innerWidth ? pointer + 14 : pointer - 14 - tip.offsetWidth;
    tip.style.left = `${Math.max(4, wanted) - left}px`;
    tip.style.top = `${chart.offsetTop + 24}px`;
  }

  let asked = 0;
  function tell(panel, at) {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      const told = at && panel.told(at.x);
      panel.at = at ? at.x : null;
      panel.tip.hidden = !told || !told.rows.length;
      if (panel.tip.hidden) return;
      panel.tip.replaceChildren(...tipRows(told));
      placeTip(panel, at.sx);
    });
  }

  // The arrow keys go from bin to bin, or from epoch to epoch.
  function keyed(panel, event) {
    if (event.key === "Escape") tell(panel, null);
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const places = panel.places();
    if (!by || !panel.toPixels || !places.length) return;
    event.preventDefault();
    const from = finite(panel.at) ? places.findLastIndex((place) => place <= panel.at + 1e-9) : -1;
    const x = places[Math.max(0, Math.min(places.length - 1, from + by))];
    tell(panel, { x, sx: panel.toPixels(x) });
  }

  // ---- the tools --------------------------------------------------------------------------------------------
  function legendItem({ series, now }) {
    const epochs = now ? now.epochs.map((epoch) => `${epoch === stepNow() ? "" : "◂ "}${epoch}`).join(", ") : "";
    const runs = series.members.length > 1 ? `${series.members.length} runs, ` : "";
    const left = series.left ? `, ${series.left} not finished left out` : "";
    const told = (now ? `${runs}${axis} ${epochs}, n = ${Math.round(now.ownSize).toLocaleString("en")}` : "nothing here") + left;
    return make("li", {}, groupDot(series.place), make("span", { class: "name", dir: "auto", title: series.label }, series.label),
      make("span", { class: "note" }, told));
  }

  function show() {
    drawn = gather();
    byId("spread-shown").textContent = `${axis} ${stepNow()}`;
    slider.setAttribute("aria-valuetext", `${axis} ${stepNow()}`);
    byId("spread-legend").replaceChildren(...drawn.map(legendItem));
    panels.forEach(refresh);
  }

  function redraw() {
    show();
    panels.filter((panel) => panel.sources).forEach(draw);
  }

  function ways() {
    const used = leaf.runs.map(({ run }) => data.runs[run].group);
    const grouped = groups.length > 1 && new Set(used).size < used.length;
    return [...(grouped ? ["groups"] : []), ...(leaf.runs.length > MANY ? ["best"] : []), "all"];
  }

  function showWays() {
    const words = { groups: "groups", best: `best ${FEW}`, all: `all ${leaf.runs.length} runs` };
    const known = ways();
    who = leaf.runs.length > MANY ? known[0] : "all";
    byId("spread-who").hidden = known.length < 2;
    byId("spread-who").replaceChildren(...known.map((way) => {
      const button = make("button", { type: "button", "aria-pressed": String(way === who) }, words[way]);
      button.addEventListener("click", () => {
        who = way;
        for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
        show();
      });
      return button;
    }));
  }

  const option = (text, value) => make("option", { value }, text);

  function setLeaf(place) {
    leaf = leaves[place];
    choice = 0;
    steps = [...new Set(leaf.runs.flatMap(({ epochs }) => epochs))].sort((a, b) => a - b);
    slider.max = steps.length - 1;
    slider.value = steps.length - 1;
    slider.disabled = steps.length < 2;
    byId("class").replaceChildren(option(`all ${leaf.kind}`, 0), ...leaf.names.map((name, number) => option(name, number + 1)));
    byId("class-pick").hidden = leaf.names.length === 0;
    byId("spread-notes").replaceChildren(...leaf.notes.map((text) => make("li", {}, text)));
    showWays();
    redraw();
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const panel = panels.find(({ box }) => box === target);
      if (!panel.sources) draw(panel);
    }
  }, { root: document, rootMargin: "300px 0px" });

  function addPanel(panel) {
    panel.chart = make("div", { class: "chart", role: "img", tabindex: "0", "aria-label": panel.name });
    panel.chart.addEventListener("keydown", (event) => keyed(panel, event));
    panel.chart.addEventListener("blur", () => tell(panel, null));
    panel.tip = make("div", { class: "tip", role: "status", hidden: "" });
    panel.note = make("span", { class: "note" });
    const title = make("h3", {}, make("span", { class: "what" }, panel.name), panel.note);
    panel.box = make("article", { class: "panel" }, title, panel.chart, panel.tip);
    byId("spread-panels").append(panel.box);
  }

  panels.forEach(addPanel);
  byId("leaf").replaceChildren(...leaves.map(({ name }, place) => option(name, place)));
  byId("leaf-pick").hidden = leaves.length < 2;
  byId("leaf").addEventListener("change", ({ target }) => setLeaf(Number(target.value)));
  byId("class").addEventListener("change", ({ target }) => {
    choice = Number(target.value);
    redraw();
  });
  slider.addEventListener("input", show);
  dark.addEventListener("change", () => panels.filter((panel) => panel.sources).forEach(draw));
  watchers.push(show);
  setLeaf(0);
  panels.forEach(({ box }) => seen.observe(box));
  const drawRest = () => whenIdle(() => {
    const next = panels.find((panel) => !panel.sources && panel.box.offsetParent);
    if (next) draw(next).then(drawRest);
  });
  drawRest();
})();
