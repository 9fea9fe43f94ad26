// What all sections share: which runs are shown, their colours, going to a section, sorting a table.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const byId = (id) => document.getElementById(id);

// What Python gave a section's script; null where the section is not there.
function dataOf(section) {
  const element = byId(`data-${section}`);
  return element && JSON.parse(element.textContent);
}

// Okabe and Ito's palette, on white without its yellow and with a darker orange and sky blue, on black without its
// black and the brighter ones first: each stands out from its ground by 3 to 1 at least.
const HUES = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B98000", "#2F93CF", "#000000"],
  dark: ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2"],
};
const hueOf = (place) => HUES[dark.matches ? "dark" : "light"][place % HUES.light.length];
function colourOf(run, half = "train") {
  // A run alone has a colour for each half; beside others, the dash alone tells them apart.
  return hueOf(data.runs.length === 1 && half === "val" ? 1 : run);
}
const groupColour = (group) => hueOf(group);

// Colours repeat after seven runs or groups; with the shapes of their marks, after 28.
const SHAPES = ["circle", "square", "triangle", "diamond"];
const shapeOf = (place) => SHAPES[Math.floor(place / HUES.light.length) % SHAPES.length];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function paint(mark, place, colour = hueOf(place)) {
  mark.style.background = colour;
  mark.dataset.shape = shapeOf(place);
}
function dot(run, half) {
  const mark = make("span", { class: "dot" });
  paint(mark, run, colourOf(run, half));
  return mark;
}
function groupDot(group) {
  const mark = make("span", { class: "dot" });
  paint(mark, group);
  return mark;
}

const watchers = [];
const ticked = data.runs.map(() => true);
const matching = data.runs.map(() => true);
const isShown = (run) => ticked[run] && matching[run];

// Rows by run, and what the filter looks for in them: read once, when first needed.
let rowsByRun = null;
let textByRun = null;
function runRows() {
  if (rowsByRun) return rowsByRun;
  rowsByRun = data.runs.map(() => []);
  for (const row of document.querySelectorAll("tr[data-run]")) rowsByRun[row.dataset.run].push(row);
  return rowsByRun;
}
function runTexts() {
  textByRun = textByRun || data.runs.map((each, run) =>
    [each.id, each.label, each.experiment, ...runRows()[run].map((row) => row.textContent)].join(" ").toLowerCase());
  return textByRun;
}

function showRow(row, run) {
  const box = row.querySelector("input");
  // Where a run can be ticked again its row stays, faded; elsewhere it goes.
  row.hidden = box ? !matching[run] : !isShown(run);
  row.classList.toggle("off", !ticked[run]);
  if (box) box.checked = ticked[run];
}

// One sentence instead of panels and rows without anything in them.
function tellNothing() {
  const none = !data.runs.some((_, run) => isShown(run));
  const words = matching.includes(true) ? "No run is ticked." : "No run matches the filter.";
  document.body.classList.toggle("none-shown", none);
  for (const line of document.querySelectorAll(".nothing")) {
    line.hidden = !none;
    line.textContent = none ? words : "";
  }
}

function runsChanged() {
  tellNothing();
  runRows().forEach((each, run) => each.forEach((row) => showRow(row, run)));
  const count = byId("count");
  if (count) count.textContent = `${data.runs.filter((_, run) => isShown(run)).length} of ${data.runs.length} runs`;
  for (const watcher of watchers) watcher();
}

function setTicked(run, on) {
  ticked[run] = on;
  runsChanged();
}

function setFilter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  runTexts().forEach((each, run) => {
    matching[run] = words.every((word) => each.includes(word));
  });
  runsChanged();
}

function compareKeys(left, right, sign) {
  if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
  const [x, y] = [Number(left), Number(right)];
  if (Number.isNaN(x) || Number.isNaN(y)) return sign * left.localeCompare(right);
  return sign * (x - y);
}

function sortTable(head) {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: row.cells[head.cellIndex].dataset.sort }));
  rows.sort((a, b) => compareKeys(a.key, b.key, sign));
  body.append(...rows.map(({ row }) => row));
}

function paintDots() {
  for (const mark of document.querySelectorAll(".dot[data-colour]")) {
    paint(mark, Number(mark.dataset.colour), colourOf(Number(mark.dataset.colour)));
  }
}

function wireShared() {
  for (const button of document.querySelectorAll("[data-go]")) {
    // An anchor would blank the page inside MLflow's artifact viewer.
    button.addEventListener("click", () => byId(button.dataset.go).scrollIntoView({ behavior: "smooth" }));
  }
  for (const head of document.querySelectorAll("table.sortable thead th")) {
    head.querySelector("button").addEventListener("click", () => sortTable(head));
  }
  for (const box of document.querySelectorAll("tbody input")) {
    box.addEventListener("change", () => setTicked(Number(box.closest("tr").dataset.run), box.checked));
  }
  if (byId("filter")) byId("filter").addEventListener("input", (event) => setFilter(event.target.value));
  dark.addEventListener("change", () => {
    paintDots();
    runsChanged();
  });
  paintDots();
}
wireShared();
