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

// Okabe and Ito's palette. Its yellow is too pale on white and its black is invisible on black, so each goes
// without one; the dark page starts with the brighter ones.
const HUES = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"],
  dark: ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2"],
};
function colourOf(run, half = "train") {
  const hues = HUES[dark.matches ? "dark" : "light"];
  // A run alone has a colour for each half; beside others, the dash alone tells them apart.
  const place = data.runs.length === 1 && half === "val" ? 1 : run;
  return hues[place % hues.length];
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function dot(run, half) {
  const mark = make("span", { class: "dot" });
  mark.style.background = colourOf(run, half);
  return mark;
}

// What encode.floats and encode.integers wrote.
const unpackBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const unpackFloats = (text) => new Float32Array(unpackBytes(text));
const unpackIntegers = (text) => new Float64Array(unpackBytes(text));

const watchers = [];
const ticked = data.runs.map(() => true);
const matching = data.runs.map(() => true);
const isShown = (run) => ticked[run] && matching[run];

function runsChanged() {
  for (const row of document.querySelectorAll("tr[data-run]")) {
    const run = Number(row.dataset.run);
    const box = row.querySelector("input");
    // Where a run can be ticked again its row stays, faded; elsewhere it goes.
    row.hidden = box ? !matching[run] : !isShown(run);
    row.classList.toggle("off", !ticked[run]);
    if (box) box.checked = ticked[run];
  }
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
  data.runs.forEach((each, run) => {
    const rows = [...document.querySelectorAll(`tr[data-run="${run}"]`)];
    const told = [each.id, each.experiment, ...rows.map((row) => row.textContent)].join(" ").toLowerCase();
    matching[run] = words.every((word) => told.includes(word));
  });
  runsChanged();
}

function compareCells(a, b, sign) {
  const [left, right] = [a.dataset.sort, b.dataset.sort];
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
  const rows = [...body.rows].sort((a, b) => compareCells(a.cells[head.cellIndex], b.cells[head.cellIndex], sign));
  body.append(...rows);
}

function paintDots() {
  for (const mark of document.querySelectorAll(".dot[data-colour]")) {
    mark.style.background = colourOf(Number(mark.dataset.colour));
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
