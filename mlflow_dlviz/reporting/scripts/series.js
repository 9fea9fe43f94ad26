// Series: smoothing, thinning and looking up, on typed arrays. Pure.
"use strict";

const series = (() => {
  const finite = Number.isFinite;

  // Exponential moving average, debiased as in Adam (Kingma and Ba 2015); what is not finite is passed over.
  function smooth(values, weight) {
    const averages = new Float64Array(values.length);
    let sum = 0;
    let mass = 0;
    for (let place = 0; place < values.length; place++) {
      if (finite(values[place])) {
        sum = weight * sum + (1 - weight) * values[place];
        mass = weight * mass + (1 - weight);
      }
      averages[place] = finite(values[place]) ? sum / mass : NaN;
    }
    return averages;
  }

  // The first place in ascending `xs` that is not below x.
  function firstFrom(xs, x) {
    let [low, high] = [0, xs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The place in ascending `xs` that is nearest to x, the earlier of two; -1 without any.
  function nearest(xs, x) {
    const after = firstFrom(xs, x);
    if (after === 0) return xs.length ? 0 : -1;
    return after === xs.length || x - xs[after - 1] <= xs[after] - x ? after - 1 : after;
  }

  // The height at each of ascending `wanted` of what leads through (xs, ys); at the ends, as there.
  function between(wanted, xs, ys) {
    const found = new Float64Array(wanted.length);
    let after = 0;
    for (let place = 0; place < wanted.length; place++) {
      const x = wanted[place];
      while (after < xs.length && xs[after] < x) after++;
      const [left, right] = [Math.max(0, after - 1), Math.min(after, xs.length - 1)];
      const share = xs[right] > xs[left] ? Math.min(1, (x - xs[left]) / (xs[right] - xs[left])) : 0;
      found[place] = ys[left] + share * (ys[right] - ys[left]);
    }
    return found;
  }

  function extremes(ys, start, stop) {
    let [low, high] = [-1, -1];
    for (let place = start; place < stop; place++) {
      if (!finite(ys[place])) continue;
      if (low < 0 || ys[place] < ys[low]) low = place;
      if (high < 0 || ys[place] > ys[high]) high = place;
    }
    if (low < 0) return [start];
    return low === high ? [low] : [Math.min(low, high), Math.max(low, high)];
  }

  // What lies from `from` to `to` and one point to either side, of each of `stretches` its lowest and highest.
  function thin(xs, ys, { from = -Infinity, to = Infinity, stretches }) {
    const start = Math.max(0, firstFrom(xs, from) - 1);
    const stop = Math.min(xs.length, nearest(xs, Math.min(to, xs[xs.length - 1])) + 2);
    if (stop - start <= 2 * stretches + 2) return { xs: xs.subarray(start, stop), ys: ys.subarray(start, stop) };
    const places = [start];
    for (let each = 0; each < stretches; each++) {
      const edge = (part) => start + 1 + Math.floor(((stop - start - 2) * part) / stretches);
      places.push(...extremes(ys, edge(each), edge(each + 1)));
    }
    places.push(stop - 1);
    return { xs: Float64Array.from(places, (place) => xs[place]), ys: Float64Array.from(places, (place) => ys[place]) };
  }

  return { between, nearest, smooth, thin };
})();
