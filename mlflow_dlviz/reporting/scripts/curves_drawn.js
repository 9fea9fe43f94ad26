// Curves, first part: what is to be drawn, from what Python gave and what the reader chose.
"use strict";

const curves = ((given) => {
  if (!given) return null;
  const panels = given.panels.map((panel) => ({ ...panel, log: false, window: null, shown: [], turn: 0 }));
  const longest = Math.max(0, ...given.clocks.map((clock) => (clock ? clock.seconds.high : 0)));
  // Units that keep the ticks short.
  const [unit, seconds] = [["s", 1], ["min", 60], ["h", 3600]][longest <= 180 ? 0 : longest <= 10800 ? 1 : 2];
  return {
    ...given, panels, unit, seconds, halves: { train: true, val: true }, focus: null,
    groupTicked: given.groups.map((_, group) => group < given.first),
    get weight() { return this.view === "groups" ? 0 : this.stops[this.stop]; },
    // Groups have no common date.
    get over() { return this.view === "groups" && this.x === "wall" ? "relative" : this.x; },
  };
})(dataOf("curves"));

const curvesDrawn = curves && (() => {
  const groupOf = new Map(curves.groups.flatMap(({ members }, group) => members.map((run) => [run, group])));

  function unpackClock(clock) {
    if (!clock || clock.at) return clock;
    clock.at = unpackScaled(clock.seconds);
    clock.steps = unpackSteps(clock.x, clock.at.length);
    return clock;
  }

  function unpackLine(line) {
    if (line.raw) return line;
    const ys = unpackFloats(line.y);
    line.raw = { steps: unpackSteps(line.x, ys.length), ys };
    line.own = line.seconds ? { steps: line.raw.steps, at: unpackScaled(line.seconds) } : null;
    if (line.even) {
      const all = unpackScaled(line.even.y);
      const count = all.length / (curves.stops.length - 1);
      const steps = unpackSteps(line.even.x, count);
      line.averages = curves.stops.slice(1).map((_, row) => ({ steps, ys: all.subarray(row * count, (row + 1) * count) }));
    }
    return line;
  }

  function unpackBand(band) {
    if (band.middle) return band;
    const all = unpackScaled(band.y);
    const count = all.length / 3;
    const steps = unpackSteps(band.x, count);
    band.middle = { steps, ys: all.subarray(0, count) };
    band.ends = [all.subarray(count, 2 * count), all.subarray(2 * count)];
    band.counts = typeof band.n === "number" ? steps.map(() => band.n) : unpackScaled(band.n).map(Math.round);
    return band;
  }

  // Shortened lines came with averages of all their values.
  function averaged(line) {
    if (curves.weight === 0) return line.raw;
    if (line.averages) return line.averages[curves.stop - 1];
    if (line.smoothedAt !== curves.stop) {
      line.smoothed = { steps: line.raw.steps, ys: series.smooth(line.raw.ys, curves.weight) };
      line.smoothedAt = curves.stop;
    }
    return line.smoothed;
  }

  // Where steps of a run lie on the axis chosen.
  function positions(run, own, steps) {
    const clock = unpackClock(curves.clocks[run]);
    if (!clock) return new Float64Array(steps.length).fill(NaN);
    const seconds = own ? series.between(steps, own.steps, own.at) : series.between(steps, clock.steps, clock.at);
    return seconds.map((each) => (curves.over === "wall" ? clock.start + 1000 * each : each / curves.seconds));
  }

  function median(numbers) {
    const sorted = numbers.sort();
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  // A group is where half of its runs are by then.
  function groupPositions(group, steps) {
    const each = curves.groups[group].members.map((run) => positions(run, null, steps));
    return steps.map((_, place) => median(Float64Array.from(each, (xs) => xs[place])));
  }

  function placed(points, find) {
    if (curves.over === "step") return { xs: points.steps, ys: points.ys };
    if (points.over !== curves.over) {
      points.xs = find(points.steps);
      points.over = curves.over;
    }
    return { xs: points.xs, ys: points.ys };
  }
  const onAxis = (line, points) => placed(points, (steps) => positions(line.run, line.own, steps));

  function runCurve(line, place, colour) {
    unpackLine(line);
    const points = averaged(line);
    return { line, run: line.run, half: line.half, place, colour, steps: points.steps, ...onAxis(line, points) };
  }

  function groupCurve(band) {
    const { group, half, middle, ends, counts } = unpackBand(band);
    const points = placed(middle, (steps) => groupPositions(group, steps));
    return { band, group, half, place: group, colour: groupColour(group), steps: middle.steps, ends, counts, ...points };
  }

  const groupShown = (group) => curves.groupTicked[group] && curves.groups[group].members.some(isShown);
  const lineShown = (line) => curves.halves[line.half] && isShown(line.run) &&
    (curves.view === "runs" || (groupOf.has(line.run) && groupShown(groupOf.get(line.run))));

  function groupCurves(panel) {
    const bands = panel.bands.filter(({ group, half }) => curves.halves[half] && groupShown(group));
    const banded = new Set(panel.bands.map(({ group, half }) => `${group} ${half}`));
    const alone = panel.lines.filter((line) => lineShown(line) && !banded.has(`${groupOf.get(line.run)} ${line.half}`));
    const single = alone.map((line) => {
      const group = groupOf.get(line.run);
      return { ...runCurve(line, group, groupColour(group)), group };
    });
    return [...bands.map(groupCurve), ...single];
  }

  function shown(panel) {
    if (curves.view === "groups") return groupCurves(panel);
    return panel.lines.filter(lineShown).map((line) => runCurve(line, line.run, colourOf(line.run, line.half)));
  }

  return { lineShown, onAxis, shown, unpackClock };
})();
