// Numbers: what encode.py wrote, as typed arrays. Pure.
"use strict";

function unpackBytes(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < bytes.length; place++) bytes[place] = letters.charCodeAt(place);
  return bytes.buffer;
}
const unpackFloats = (text) => new Float32Array(unpackBytes(text));
const unpackIntegers = (text) => new Float64Array(unpackBytes(text));
const unpackShorts = (text) => new Uint16Array(unpackBytes(text));

function unpackScaled({ low, high, ratios, parts }) {
  const [bottom, top] = ratios ? [Math.log(low), Math.log(high)] : [low, high];
  const value = (part) => bottom + ((top - bottom) * part) / 65534;
  return Float64Array.from(unpackShorts(parts), (part) => {
    if (part === 65535) return NaN;
    return ratios ? Math.exp(value(part)) : value(part);
  });
}

// `count` of them; without any given, 0, 1, 2, …
function unpackSteps(given, count) {
  const { all, widths, first = 0, last = count - 1 } = given || {};
  if (all) return unpackIntegers(all);
  const steps = new Float64Array(count);
  const each = widths && unpackShorts(widths);
  for (let place = 0; place < count; place++) {
    if (!each) steps[place] = first + Math.floor((place * (last - first)) / Math.max(1, count - 1));
    else steps[place] = place ? steps[place - 1] + each[place - 1] : first;
  }
  return steps;
}
