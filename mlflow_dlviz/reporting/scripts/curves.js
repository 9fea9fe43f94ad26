// Curves, last part: the panels, what is chosen for all of them, and the legend.
"use strict";

(() => {
  if (!curves) return;
  const { panels } = curves;
  const refreshAll = () => panels.forEach((panel) => curvesQueue.add(panel));
  const drawAll = () => panels.forEach((panel) => curvesQueue.add(panel, true));

  function setLog(panel, on) {
    if (panel.log === on) return;
    panel.log = on;
    panel.button.setAttribute("aria-pressed", String(on));
    curvesQueue.add(panel, true);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const panel = panels.find(({ box }) => box === target);
      panel.inView = isIntersecting;
      if (isIntersecting && !panel.sources) curvesQueue.add(panel, true);
    }
    curvesQueue.wake();
  }, { root: document, rootMargin: "100px" });

  function addPanel(panel) {
    const label = `${panel.name}; arrow keys read its values`;
    panel.chart = make("div", { class: "chart", role: "img", tabindex: "0", "aria-label": label });
    panel.tip = make("div", { class: "tip", role: "status", hidden: "" });
    panel.note = make("span", { class: "note" });
    panel.button = make("button", { type: "button", "aria-pressed": "false", title: "Logarithmic y axis" }, "log");
    panel.button.addEventListener("click", () => setLog(panel, !panel.log));
    const what = make("span", { class: "what", dir: "auto", title: panel.name }, panel.name);
    panel.box = make("article", { class: "panel" }, make("h3", {}, what, panel.note, panel.button), panel.chart, panel.tip);
    byId(panel.main ? "panels" : "more-panels").append(panel.box);
    panel.note.textContent = curvesPanel.noteOf(panel);
    curvesHover.watchKeys(panel);
    seen.observe(panel.box);
  }

  function legendButton(mark, label, { title, focus, toggle }) {
    const button = make("button", { type: "button", title }, mark, make("span", { dir: "auto" }, label));
    button.addEventListener("click", () => {
      toggle();
      button.focus();
    });
    for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => curvesHover.setFocus(focus));
    for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => curvesHover.setFocus(null));
    return button;
  }

  const buttons = { runs: [], groups: [] };
  function runButton(run) {
    const { label } = data.runs[run];
    buttons.runs[run] = buttons.runs[run] ||
      legendButton(dot(run), label, { title: label, focus: { run }, toggle: () => setTicked(run, !ticked[run]) });
    buttons.runs[run].setAttribute("aria-pressed", String(ticked[run]));
    return buttons.runs[run];
  }

  function toggleGroup(group) {
    curves.groupTicked[group] = !curves.groupTicked[group];
    showLegend();
    refreshAll();
  }

  function groupButton(group) {
    const { label, members, of } = curves.groups[group];
    const count = members.length === of ? `n = ${of}` : `n = ${members.length} of ${of}`;
    buttons.groups[group] = buttons.groups[group] || legendButton(groupDot(group), `${label} (${count})`,
      { title: label, focus: { group }, toggle: () => toggleGroup(group) });
    buttons.groups[group].setAttribute("aria-pressed", String(curves.groupTicked[group]));
    return buttons.groups[group];
  }

  function showLegend() {
    const legend = byId("legend");
    if (!legend) return;
    const found = curves.view === "groups"
      ? curves.groups.flatMap(({ members }, group) => (members.some((run) => matching[run]) ? [groupButton(group)] : []))
      : data.runs.flatMap((_, run) => (matching[run] ? [runButton(run)] : []));
    const focused = document.activeElement;
    legend.replaceChildren(...found);
    if (found.includes(focused)) focused.focus();
  }

  function repaintLegend() {
    buttons.runs.forEach((button, run) => paint(button.firstChild, run));
    buttons.groups.forEach((button, group) => paint(button.firstChild, group));
  }

  function paintHalves() {
    if (data.runs.length > 1) return;
    for (const button of document.querySelectorAll(".half")) {
      button.firstElementChild.style.color = colourOf(0, button.dataset.half);
    }
  }

  // Buttons of which one is pressed.
  function wireSwitch(id, field, changed) {
    const group = byId(id);
    if (!group) return;
    const press = () => {
      for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.to === curves[field]));
    };
    for (const button of group.children) {
      button.addEventListener("click", () => {
        curves[field] = button.dataset.to;
        press();
        changed();
      });
    }
    press();
  }

  function showSmoothing() {
    const words = curves.stops[curves.stop] ? String(curves.stops[curves.stop]) : "off";
    byId("smoothing-shown").textContent = words;
    byId("smoothing").setAttribute("aria-valuetext", words);
  }

  function viewChanged() {
    curves.focus = null;
    const groups = curves.view === "groups";
    // An interquartile mean is smooth as it is, and groups have no common date.
    byId("smoothing").disabled = groups;
    document.querySelector("#curves-x [data-to=wall]").disabled = groups;
    showLegend();
    drawAll();
  }

  function wireTools() {
    paintHalves();
    wireSwitch("curves-view", "view", viewChanged);
    wireSwitch("curves-x", "x", drawAll);
    byId("log").addEventListener("change", (event) => panels.forEach((panel) => setLog(panel, event.target.checked)));
    byId("smoothing").addEventListener("input", (event) => {
      curves.stop = Number(event.target.value);
      showSmoothing();
      refreshAll();
    });
    for (const button of document.querySelectorAll(".half")) {
      const { half } = button.dataset;
      button.hidden = !panels.some((panel) => panel.lines.some((line) => line.half === half));
      button.addEventListener("click", () => {
        curves.halves[half] = !curves.halves[half];
        button.setAttribute("aria-pressed", String(curves.halves[half]));
        refreshAll();
      });
    }
    dark.addEventListener("change", () => {
      paintHalves();
      repaintLegend();
      drawAll();
    });
  }

  panels.forEach(addPanel);
  const folded = panels.filter((panel) => !panel.main).length;
  byId("more").hidden = folded === 0;
  byId("more").querySelector("summary").textContent = `${folded} more metric${folded === 1 ? "" : "s"}`;
  wireTools();
  showSmoothing();
  viewChanged();
  watchers.push(showLegend, refreshAll);
})();
