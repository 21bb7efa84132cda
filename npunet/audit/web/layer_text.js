// What the panel of a layer says in words.

import { facts, make } from "./dom.js";
import { briefly, counted, percent } from "./format.js";

export function shapeText([H, W, C]) {
  return H === 1 ? `${counted(W)} samples × ${counted(C)} channels` : `${H} × ${W} pixels × ${C} channels`;
}

// What the integers of a tensor stand for.
export function meaning({ scale, zeroPoint, limits }) {
  const z = zeroPoint < 0 ? `+ ${-zeroPoint}` : `− ${zeroPoint}`;
  return `value = ${Number(scale.toPrecision(9))} · (q ${z}), q from ${limits[0]} to ${limits[1]}`;
}

// Bytes of a layer's output and weights.
export function memoryOf(node, description) {
  const values = node.shape.reduce((a, b) => a * b);
  if (description.integer) {
    const wide = description.tensors[node.name].limits[1] > 127;
    return `output ${counted((wide ? 2 : 1) * values)} bytes (int${wide ? 16 : 8})`;
  }
  return `output ${counted(4 * values)} bytes, weights ${counted(4 * node.parameters)} bytes (float32)`;
}

export function settings(node) {
  const { stride, dilation, pads, window, factor, eps, rate } = node.attrs;
  const parts = [
    stride && `stride ${stride.join(" × ")}`,
    dilation && `dilation ${dilation.join(" × ")}`,
    window && `window ${window.join(" × ")}`,
    factor && `factor ${factor.join(" × ")}`,
    pads && `padding top ${pads[0][0]}, bottom ${pads[0][1]}, left ${pads[1][0]}, right ${pads[1][1]}`,
    eps && `eps ${eps}`,
    rate !== undefined && `rate ${rate}`,
  ].filter(Boolean);
  for (const [name, value] of Object.entries(node.attrs)) {
    if (typeof value === "number" && name !== "eps" && name !== "rate") parts.push(`${name} ${value}`);
    if (name === "rounding") parts.push(`rounding ${value}`);
  }
  return parts.length ? parts.join("; ") : "none";
}

// Range, mean, saturation, dead channels of a whole tensor; `channels`: the range of each.
export function figuresOf({ data, shape }) {
  const C = shape[2];
  const channels = Array.from({ length: C }, () => [Infinity, -Infinity]);
  let [sum, zeros, sixes, wrong] = [0, 0, 0, 0];
  for (let k = 0, c = 0; k < data.length; k++, c = c + 1 < C ? c + 1 : 0) {
    const value = data[k];
    const range = channels[c];
    if (value < range[0]) range[0] = value;
    if (value > range[1]) range[1] = value;
    sum += value;
    if (value === 0) zeros++;
    else if (value === 6) sixes++;
    else if (!Number.isFinite(value)) wrong++;
  }
  const dead = channels.flatMap(([low, high], c) => (low === 0 && high === 0 ? [c] : []));
  const low = Math.min(...channels.map(([least]) => least));
  const high = Math.max(...channels.map(([, most]) => most));
  const n = data.length || 1;
  return { low, high, mean: sum / n, zeros: zeros / n, sixes: sixes / n, wrong, dead, channels };
}

// What a range says where there is one: of nothing but NaN there is none.
export function rangeText(low, high, between = " to ") {
  return low <= high ? `${briefly(low)}${between}${briefly(high)}` : "no number";
}

export function statistics({ low, high, mean, zeros, sixes, dead, wrong }, op) {
  const parts = [
    `Range ${rangeText(low, high)}, mean ${briefly(mean)}; ${percent(zeros)} exactly 0`,
    op === "relu6" ? `, ${percent(sixes)} at 6` : "",
    wrong ? `, ${counted(wrong)} not finite` : "",
    dead.length
      ? `. Dead channels (0 everywhere on this input): ${dead.slice(0, 20).join(", ")}${dead.length > 20 ? ", …" : ""}`
      : ". No dead channel",
  ];
  return parts.join("");
}

export function oddityText({ what, reference, paper, cost, test }) {
  return make(
    "div",
    { className: "oddity" },
    make("p", {}, make("strong", {}, what)),
    facts([
      ["reference", reference],
      ["paper", paper],
      ["cost", cost],
      ["pinned by", test],
    ]),
  );
}
