// Sweep: parallel coordinates on a canvas; ranges by dragging or sliders, runs by pointing or arrow keys.
"use strict";

(() => {
  const given = dataOf("sweep");
  if (!given) return;
  const axes = given.axes.map((axis, place) => ({
    ...axis,
    places: unpackFloats(axis.places),
    range: [0, 1],
    few: new Set(unpackFloats(axis.places)).size <= 12,
    shown: place < 7 || place === given.axes.length - 1,
  }));
  const HINT = "Point at a line, or step through the runs with the arrow keys; drag along an axis, or use the sliders, to keep a range.";
  const goal = axes.at(-1);
  const shades = unpackFloats(given.shades);
  const chart = byId("sweep-chart");
  const canvas = chart.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const [choice, from, to] = ["sweep-axis", "sweep-from", "sweep-to"].map(byId);
  // From best to worst; told apart by any eye, and dark enough on the page's ground.
  const RAMP = { light: ["#0072B2", "#D55E00"], dark: ["#56B4E9", "#E69F00"] };
  const TOP = 46;
  const BOTTOM = 30;
  const NEAR = 12;
  const FAN = 14;
  let focus = null;
  let dragged = null;
  let asked = 0;

  // Best first, runs without a value last.
  const ranked = data.runs.map((_, run) => run)
    .sort((a, b) => (Number.isNaN(shades[a]) - Number.isNaN(shades[b])) || shades[a] - shades[b] || a - b);
  const narrowed = ({ range: [low, high] }) => low > 0 || high < 1;
  const within = ({ range: [low, high] }, place) => place >= low - 1e-6 && place <= high + 1e-6;
  const kept = (run) => isShown(run) && axes.every((axis) => !narrowed(axis) || within(axis, axis.places[run]));
  const shownAxes = () => axes.filter((axis) => axis.shown);
  const chosen = () => axes[Number(choice.value)];

  // ---- words ----------------------------------------------------------------------------------------------------

  function numberAt({ scale: [low, high, log] }, place, digits = 5) {
    const value = log ? low * (high / low) ** place : low * (1 - place) + high * place;
    return String(Number(value.toPrecision(digits)));
  }

  function wordsAt(axis, place) {
    if (Number.isNaN(place)) return "—";
    if (axis.scale) return numberAt(axis, place);
    const nearest = axis.ticks.reduce((a, b) => (Math.abs(b[0] - place) < Math.abs(a[0] - place) ? b : a));
    return nearest[1];
  }

  function rangeWords(axis) {
    if (axis.scale) return [...new Set(axis.range.map((place) => numberAt(axis, place, 3)))].join(" – ");
    return axis.ticks.filter(([place]) => within(axis, place)).map(([, text]) => text).join(", ") || "none";
  }

  function tell() {
    const told = byId("sweep-told");
    if (focus === null) return told.replaceChildren(make("span", { class: "note" }, HINT));
    const pairs = axes.map((axis) => make("span", { class: "pair" },
      make("span", { class: "note", dir: "auto" }, `${axis.name} `),
      make("span", { dir: "auto" }, wordsAt(axis, axis.places[focus]))));
    return told.replaceChildren(make("strong", { class: "pair", dir: "auto" }, data.runs[focus].label), ...pairs);
  }

  function count() {
    const all = ranked.filter(isShown).length;
    const left = ranked.filter(kept);
    const ranges = axes.filter(narrowed).map((axis) => `${axis.name}: ${rangeWords(axis)}`);
    const best = left.length && !Number.isNaN(shades[left[0]])
      ? `best of them ${data.runs[left[0]].label} (${goal.name} ${wordsAt(goal, goal.places[left[0]])})` : "";
    byId("sweep-count").textContent = [...ranges, `${left.length} of ${all} runs`, best].filter(Boolean).join(" · ");
  }

  // ---- drawing --------------------------------------------------------------------------------------------------

  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });

  function xsOf(count, width) {
    const [left, right] = [18, 62];
    const step = count > 1 ? (width - left - right) / (count - 1) : 0;
    return Array.from({ length: count }, (_, place) => left + place * step);
  }

  function yOf(place, height) {
    return Number.isNaN(place) ? height - 12 : TOP + (1 - place) * (height - TOP - BOTTOM);
  }

  // Where many runs share one spot, the worse pass a little lower.
  function lineY(axis, run, height) {
    const fan = axis.few && !Number.isNaN(shades[run]) ? FAN * (shades[run] - 0.5) : 0;
    return yOf(axis.places[run], height) + fan;
  }

  function shadeColour(run) {
    if (Number.isNaN(shades[run])) return css("--muted");
    const [best, worst] = RAMP[dark.matches ? "dark" : "light"].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    return `rgb(${best.map((from, place) => Math.round(from + (worst[place] - from) * shades[run])).join(" ")})`;
  }

  function trace(run, list, xs, height) {
    pen.beginPath();
    list.forEach((axis, place) => pen.lineTo(xs[place], lineY(axis, run, height)));
    pen.setLineDash(Number.isNaN(shades[run]) ? [4, 4] : []);
    pen.stroke();
    pen.setLineDash([]);
  }

  function drawRuns(list, xs, height) {
    const shown = ranked.filter(isShown).reverse();
    const crowd = Math.min(1, Math.max(0.25, 60 / Math.max(1, shown.length)));
    const lines = [...shown.filter((run) => !kept(run)), ...shown.filter(kept)].filter((run) => run !== focus);
    for (const run of lines) {
      const faded = !kept(run) || focus !== null;
      pen.strokeStyle = kept(run) ? shadeColour(run) : css("--line");
      pen.globalAlpha = faded ? 0.3 * (kept(run) ? crowd : 1) : crowd;
      pen.lineWidth = 1.5;
      trace(run, list, xs, height);
    }
    pen.globalAlpha = 1;
    if (focus === null) return;
    pen.strokeStyle = shadeColour(focus);
    pen.lineWidth = 3.5;
    trace(focus, list, xs, height);
  }

  function cut(text, width) {
    if (pen.measureText(text).width <= width) return text;
    let [low, high] = [0, text.length];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
      else high = middle - 1;
    }
    return `${text.slice(0, low)}…`;
  }

  // On a ground of its own, as lines pass behind it.
  function write(text, x, y, colour) {
    const width = pen.measureText(text).width;
    const left = { left: x, center: x - width / 2, right: x - width }[pen.textAlign];
    pen.fillStyle = css("--bg");
    pen.globalAlpha = 0.85;
    pen.fillRect(left - 2, y - 10, width + 4, 13);
    pen.globalAlpha = 1;
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  }

  function drawTitle(axis, place, xs, width) {
    const step = xs.length > 1 ? xs[1] - xs[0] : width;
    const crowded = step < 110;
    const [first, last] = [place === 0, place === xs.length - 1];
    pen.textAlign = first ? "left" : last ? "right" : "center";
    pen.font = `${axis === chosen() ? "700" : "600"} 12px system-ui, sans-serif`;
    const x = first ? xs[0] - 12 : last ? width - 6 : xs[place];
    const room = (crowded ? 2 : 1) * step - 10;
    write(cut(axis.name, first || last ? Math.max(room * 0.75, 50) : room), x, crowded && place % 2 ? 32 : 16, css("--fg"));
  }

  function drawAxis(axis, place, xs, { width, height }) {
    const x = xs[place];
    pen.strokeStyle = axis === chosen() ? css("--accent") : css("--muted");
    pen.lineWidth = axis === chosen() ? 2 : 1;
    pen.beginPath();
    pen.moveTo(x, yOf(0, height));
    pen.lineTo(x, yOf(1, height));
    pen.stroke();
    if (narrowed(axis)) {
      const [low, high] = axis.range.map((each) => yOf(each, height));
      pen.fillStyle = css("--accent");
      pen.globalAlpha = 0.25;
      pen.fillRect(x - 7, high, 14, Math.max(2, low - high));
      pen.globalAlpha = 1;
    }
    drawTitle(axis, place, xs, width);
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "left";
    const room = place < xs.length - 1 ? xs[place + 1] - x - 10 : width - x - 8;
    for (const [at, text] of axis.ticks) write(cut(text, room), x + 5, yOf(at, height) + 4, css("--muted"));
    if (axis.places.some(Number.isNaN)) write("none", x + 5, height - 8, css("--muted"));
  }

  function draw() {
    const { width, height } = size();
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const list = shownAxes();
    const xs = xsOf(list.length, width);
    pen.lineJoin = "round";
    drawRuns(list, xs, height);
    list.forEach((axis, place) => drawAxis(axis, place, xs, { width, height }));
  }

  function refresh() {
    if (focus !== null && !kept(focus)) focus = null;
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(draw);
    tell();
    count();
  }

  // ---- pointer --------------------------------------------------------------------------------------------------

  function setFocus(run) {
    if (focus === run) return;
    focus = run;
    refresh();
  }

  function runAt(x, y) {
    const { width, height } = size();
    const list = shownAxes();
    const xs = xsOf(list.length, width);
    const right = Math.max(1, Math.min(xs.length - 1, xs.findIndex((each) => each >= x)));
    const share = (x - xs[right - 1]) / (xs[right] - xs[right - 1]);
    const gap = (run) => {
      const [a, b] = [right - 1, right].map((place) => lineY(list[place], run, height));
      return Math.abs(a + (b - a) * Math.min(1, Math.max(0, share)) - y);
    };
    const found = ranked.filter(kept).reduce((best, run) => (best === null || gap(run) < gap(best) ? run : best), null);
    return found !== null && gap(found) <= NEAR ? found : null;
  }

  function axisAt(x) {
    const list = shownAxes();
    const xs = xsOf(list.length, size().width);
    const place = xs.findIndex((each) => Math.abs(each - x) <= NEAR);
    return place < 0 ? null : list[place];
  }

  const placeAt = (y) => Math.min(1, Math.max(0, 1 - (y - TOP) / (size().height - TOP - BOTTOM)));

  function press(event) {
    const axis = axisAt(event.offsetX);
    // A finger scrolls the page; for it there are the sliders.
    if (!axis || event.pointerType === "touch") return;
    choose(axis);
    dragged = { axis, start: event.offsetY };
    canvas.setPointerCapture(event.pointerId);
  }

  function move(event) {
    if (!dragged) {
      canvas.style.cursor = axisAt(event.offsetX) ? "ns-resize" : "";
      setFocus(runAt(event.offsetX, event.offsetY));
      return;
    }
    const ends = [placeAt(dragged.start), placeAt(event.offsetY)];
    setRange(dragged.axis, Math.min(...ends), Math.max(...ends));
  }

  function release(event) {
    // A click on an axis takes its range away.
    if (dragged && Math.abs(event.offsetY - dragged.start) < 4) setRange(dragged.axis, 0, 1);
    dragged = null;
  }

  // ---- controls -------------------------------------------------------------------------------------------------

  function setRange(axis, low, high) {
    axis.range = [low, high];
    showRange();
    refresh();
  }

  function showRange() {
    const [low, high] = chosen().range;
    from.value = Math.round(1000 * low);
    to.value = Math.round(1000 * high);
    for (const [slider, place] of [[from, low], [to, high]]) slider.setAttribute("aria-valuetext", wordsAt(chosen(), place));
  }

  function choose(axis) {
    choice.value = String(axes.indexOf(axis));
    showRange();
    refresh();
  }

  function slide(event) {
    const [low, high] = [Number(from.value) / 1000, Number(to.value) / 1000];
    if (low <= high) setRange(chosen(), low, high);
    else setRange(chosen(), ...(event.target === from ? [low, low] : [high, high]));
  }

  function stepRun(by) {
    const list = ranked.filter(kept);
    if (!list.length) return;
    const at = list.indexOf(focus);
    setFocus(list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, at + by))]);
  }

  function stepAxis(by) {
    const list = shownAxes();
    choose(list[Math.min(list.length - 1, Math.max(0, list.indexOf(chosen()) + by))]);
  }

  const KEYS = {
    ArrowDown: () => stepRun(1),
    ArrowUp: () => stepRun(-1),
    Home: () => stepRun(-Infinity),
    End: () => stepRun(Infinity),
    ArrowRight: () => stepAxis(1),
    ArrowLeft: () => stepAxis(-1),
    Escape: () => setFocus(null),
  };

  function listAxes() {
    const list = shownAxes();
    const now = list.includes(chosen()) ? choice.value : String(axes.indexOf(list[0]));
    choice.replaceChildren(...list.map((axis) => make("option", { value: axes.indexOf(axis) }, axis.name)));
    choice.value = now;
  }

  function addToggle(axis) {
    const button = make("button", { type: "button", "aria-pressed": String(axis.shown), title: axis.name, dir: "auto" }, axis.name);
    button.addEventListener("click", () => {
      // Two axes make a line: the goal's stays, and one more.
      if (axis.shown && shownAxes().length === 2) return;
      axis.shown = !axis.shown;
      axis.range = [0, 1];
      button.setAttribute("aria-pressed", String(axis.shown));
      listAxes();
      choose(chosen());
    });
    return button;
  }

  function wire() {
    const toggles = axes.length > 2 ? axes.slice(0, -1).map(addToggle) : [];
    byId("sweep-axes").append(...toggles);
    byId("sweep-axes").hidden = !toggles.length;
    choice.addEventListener("change", () => choose(chosen()));
    for (const slider of [from, to]) slider.addEventListener("input", slide);
    byId("sweep-clear").addEventListener("click", () => {
      for (const axis of axes) axis.range = [0, 1];
      choose(chosen());
    });
    chart.addEventListener("keydown", (event) => {
      if (!KEYS[event.key]) return;
      event.preventDefault();
      KEYS[event.key]();
    });
    canvas.addEventListener("pointerdown", press);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointerleave", () => dragged || setFocus(null));
    new ResizeObserver(refresh).observe(chart);
  }

  choice.append(...axes.map((axis, place) => make("option", { value: place }, axis.name)));
  choice.value = "0";
  listAxes();
  wire();
  showRange();
  watchers.push(refresh);
  refresh();
})();
