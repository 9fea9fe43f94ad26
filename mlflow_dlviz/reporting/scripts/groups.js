// Groups: in each row of the table the group's runs, IQM and interval, all on one scale.
"use strict";

(() => {
  const given = dataOf("groups");
  if (!given) return;
  const NS = "http://www.w3.org/2000/svg";
  const HEIGHT = 26;
  const table = document.querySelector("table.forests");
  const percent = (place) => `${(100 * place).toFixed(3)}%`;
  const inside = (place) => Math.min(1, Math.max(0, place));

  function shape(tag, attributes, text) {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const upright = (place, kind) =>
    shape("line", { class: kind, x1: percent(place), x2: percent(place), y1: 0, y2: HEIGHT });

  // A bar's end within the axis, an arrow where it lies beyond.
  function endOf(place) {
    const at = inside(place);
    const out = Math.sign(place - at);
    const path = out === 0 ? "M0 -5V5" : `M${-5 * out} -5L0 0L${-5 * out} 5`;
    const nested = shape("svg", { x: percent(at), y: HEIGHT / 2, overflow: "visible" });
    nested.append(shape("path", { class: "end", d: path }));
    return nested;
  }

  function dotOf([run, place, value]) {
    const circle = shape("circle", { class: "each", cx: percent(place), cy: HEIGHT / 2, r: 3.5 });
    circle.append(shape("title", {}, `${data.runs[run].label}: ${value}`));
    return circle;
  }

  function chartOf({ iqm, ends, runs }) {
    const chart = shape("svg", { "aria-hidden": "true", height: HEIGHT });
    chart.append(...given.ticks.map(([place]) => upright(place, "grid")));
    if (given.baseline !== null) chart.append(upright(given.baseline, "reference"));
    if (ends) {
      const [x1, x2] = ends.map((place) => percent(inside(place)));
      chart.append(shape("line", { class: "span", x1, x2, y1: HEIGHT / 2, y2: HEIGHT / 2 }), ...ends.map(endOf));
    }
    chart.append(...runs.filter(([run]) => isShown(run)).map(dotOf));
    if (iqm !== null) chart.append(shape("circle", { class: "iqm", cx: percent(iqm), cy: HEIGHT / 2, r: 5.5 }));
    return chart;
  }

  function axis() {
    const chart = shape("svg", { "aria-hidden": "true", height: HEIGHT });
    for (const [place, text] of given.ticks) {
      chart.append(shape("text", { x: percent(place), y: 17, "text-anchor": "middle" }, text));
    }
    return chart;
  }

  // A group goes when none of its runs is shown; its figures stay those of all its runs.
  function show() {
    for (const row of table.tBodies[0].rows) {
      const group = given.rows[Number(row.dataset.groupRow)];
      row.hidden = !group.members.some(isShown);
      if (!row.hidden) row.querySelector(".forest").replaceChildren(chartOf(group));
    }
  }

  table.querySelector(".axis").append(axis());
  watchers.push(show);
  show();
})();
