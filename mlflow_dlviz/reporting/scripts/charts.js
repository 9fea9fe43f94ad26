// Charts: one look for all of Bokeh's figures, in the page's own colours.
"use strict";

// Bokeh warns of a panel whose runs are all hidden.
Bokeh.set_log_level("error");

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function styleAxis(axis) {
  const muted = css("--muted");
  Object.assign(axis, { axis_line_color: css("--line"), major_tick_line_color: css("--line"), minor_tick_line_color: null,
    major_label_text_color: muted, axis_label_text_color: muted, axis_label_text_font_style: "normal",
    major_label_text_font_size: "11px", axis_label_text_font_size: "11px", axis_label_standoff: 4 });
}

// An empty figure that fills its element; options as Bokeh's own.
function chartFigure(options) {
  const figure = Bokeh.Plotting.figure({
    sizing_mode: "stretch_both", tools: "pan,box_zoom,wheel_zoom,reset", active_drag: null, active_scroll: null,
    toolbar_location: "above", background_fill_color: null, border_fill_color: null, outline_line_color: null,
    min_border: 4, ...options,
  });
  figure.toolbar.logo = null;
  figure.toolbar.autohide = true;
  for (const axis of [...figure.below, ...figure.left]) styleAxis(axis);
  for (const grid of figure.center) grid.grid_line_color = css("--soft");
  return figure;
}

// Epochs and steps are whole: no tick between two.
function tickWholes(figure) {
  figure.below[0].ticker.min_interval = 1;
}

// What is not in view is drawn when there is time: a page that is being printed waits for no chart.
const whenIdle = (work) => (window.requestIdleCallback ? requestIdleCallback(work) : setTimeout(work, 50));
