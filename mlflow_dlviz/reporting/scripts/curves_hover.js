// Curves, third part: what the pointer, or the arrow keys, ask of a panel; all panels show the place.
"use strict";

const curvesHover = curves && (() => {
  const ROWS = 8;
  const HALF = { train: "training", val: "validation" };
  const finite = Number.isFinite;
  const short = (value) => String(Number(value.toPrecision(5)));
  const brief = (value) => String(Number(value.toPrecision(3)));
  const written = (value) => (finite(value) ? short(value) : "not finite");

  // Whole lines over steps share their steps; else what lies within a hundredth of the axis counts as there.
  function reach(panel) {
    if (curves.over === "step" && panel.shown.every(({ line }) => line && !line.even)) return 0;
    const ends = panel.shown.filter(({ xs }) => xs.length).map(({ xs }) => [xs[0], xs[xs.length - 1]]);
    const { from, to } = panel.window || { from: Math.min(...ends.map(([first]) => first)), to: Math.max(...ends.map(([, last]) => last)) };
    return (to - from) / 100;
  }

  const distance = (panel, value, y) => Math.abs(panel.log ? Math.log(value / y) : value - y);

  // The place under the pointer is the nearest that any shown curve has; a curve without it is left out.
  function readings(panel, x, y) {
    const near = panel.shown.map((curve) => ({ curve, at: series.nearest(curve.xs, x) })).filter(({ at }) => at >= 0);
    const gaps = near.map(({ curve, at }) => Math.abs(curve.xs[at] - x));
    const gap = gaps.reduce((least, each) => Math.min(least, each), Infinity);
    if (!finite(gap)) return null;
    const first = near[gaps.indexOf(gap)];
    const place = first.curve.xs[first.at];
    const within = reach(panel);
    const found = near.filter(({ curve, at }) => Math.abs(curve.xs[at] - place) <= within)
      .map(({ curve, at }) => ({ curve, at, value: curve.ys[at], off: distance(panel, curve.ys[at], y) }));
    const far = ({ off }) => (finite(off) ? off : Infinity);
    found.sort((a, b) => (far(a) === far(b) ? 0 : far(a) - far(b)) || a.curve.place - b.curve.place);
    return { place, found };
  }

  function placeWords(panel, place) {
    if (curves.over === "step") return `${panel.axis} ${place}`;
    if (curves.over === "wall") return `${new Date(place).toISOString().slice(0, 19).replace("T", " ")} UTC`;
    return `${short(place)} ${curves.unit}`;
  }

  function notesOf(panel, { curve, at }, place) {
    const step = curve.steps[at];
    return [
      data.runs.length > 1 && curve.half === "val" ? "val." : "",
      curve.counts ? `n = ${curve.counts[at]}` : "",
      !curve.band && (curves.over !== "step" || step !== place) ? `${panel.axis} ${step}` : "",
    ].filter(Boolean);
  }

  function rowOf(panel, found, place) {
    const { curve, at, value } = found;
    const named = curve.band ? curves.groups[curve.group].label : data.runs[curve.run].label;
    const name = data.runs.length > 1 ? named : HALF[curve.half];
    const mark = make("span", { class: "dot" });
    paint(mark, curve.place, curve.colour);
    const notes = notesOf(panel, found, place).map((text) => make("span", { class: "note" }, text));
    const [low, high] = curve.ends ? curve.ends.map((each) => each[at]) : [NaN, NaN];
    const ends = finite(low) ? [make("span", { class: "note" }, `${brief(low)} to ${brief(high)}`)] : [];
    return make("div", {}, mark, make("span", { class: "name", dir: "auto" }, name), ...notes, make("b", {}, written(value)), ...ends);
  }

  function tipRows(panel, { place, found }) {
    const smoothed = curves.weight > 0 ? `, smoothed ${curves.weight}` : "";
    const head = make("div", { class: "note" }, placeWords(panel, place) + smoothed);
    const rest = found.length > ROWS ? [make("div", { class: "note" }, `and ${found.length - ROWS} more`)] : [];
    return [head, ...found.slice(0, ROWS).map((each) => rowOf(panel, each, place)), ...rest];
  }

  // Beside the pointer, on the side where the window has room.
  function placeTip(panel, sx) {
    const frame = panel.box.getBoundingClientRect();
    const pointer = frame.left + panel.chart.offsetLeft + sx;
    const width = panel.tip.offsetWidth;
    const right = pointer + 14;
    const wanted = right + width < innerWidth ? right : pointer - 14 - width;
    panel.tip.style.left = `${Math.max(4, wanted) - frame.left}px`;
    panel.tip.style.top = `${panel.chart.offsetTop + 24}px`;
  }

  function setFocus(focus) {
    if (JSON.stringify(focus) === JSON.stringify(curves.focus)) return;
    curves.focus = focus;
    curves.panels.filter((panel) => panel.inView).forEach(curvesPanel.refreshFocus);
  }

  function focusOn({ found }) {
    const { curve } = found[0];
    if (data.runs.length > 1) setFocus(curve.band ? { group: curve.group } : { run: curve.run });
  }

  function show(panel, told) {
    for (const each of curves.panels) {
      if (!each.cursor) continue;
      each.tip.hidden = each !== panel || !told;
      if (told) each.cursor.location = told.place;
      each.cursor.visible = Boolean(told);
    }
    if (!told) return setFocus(null);
    panel.tip.replaceChildren(...tipRows(panel, told));
    focusOn(told);
  }

  let asked = 0;
  function hover(panel, event) {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      const told = panel && readings(panel, event.x, event.y);
      show(panel, told);
      if (told) placeTip(panel, event.sx);
      if (panel) panel.at = told && told.place;
    });
  }

  const KEYS = {
    ArrowLeft: (at) => at - 1,
    ArrowRight: (at) => at + 1,
    Home: () => 0,
    End: (_, last) => last,
  };

  // The arrow keys go along the longest curve shown.
  function keyed(panel, event) {
    if (event.key === "Escape") return hover(null);
    if (!KEYS[event.key] || !panel.shown.length) return;
    event.preventDefault();
    const { xs, ys } = panel.shown.reduce((longest, curve) => (curve.xs.length > longest.xs.length ? curve : longest));
    const from = Number.isFinite(panel.at) ? series.nearest(xs, panel.at) : -1;
    const at = Math.max(0, Math.min(xs.length - 1, KEYS[event.key](from, xs.length - 1)));
    const share = (xs[at] - xs[0]) / (xs[xs.length - 1] - xs[0] || 1);
    hover(panel, { x: xs[at], y: ys[at], sx: share * panel.chart.clientWidth });
  }

  function watch(panel, figure) {
    figure.on_event("mousemove", (event) => hover(panel, event));
    figure.on_event("mouseleave", () => hover(null));
    figure.on_event("tap", (event) => hover(panel, event));
  }

  function watchKeys(panel) {
    panel.chart.addEventListener("keydown", (event) => keyed(panel, event));
    panel.chart.addEventListener("blur", () => hover(null));
  }

  return { setFocus, watch, watchKeys };
})();
