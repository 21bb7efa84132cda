// What the panel of a layer says in words.

import { facts, make } from "./dom.js";
import { briefly, counted, percent } from "./format.js";

export function shapeText([H, W, C]) {
  return H === 1 ? `${counted(W)} samples × ${counted(C)} channels` : `${H} × ${W} pixels × ${C} channels`;
}

// Where in the U a layer stands, by its name: ENC2_D1_conv, DEC1_pool, NECK_conv.
export function placeText(name) {
  const [, part, block, step] = /^(ENC|DEC)(\d+)(?:_D(\d+))?/.exec(name) ?? [];
  if (!part) return "after the last block";
  return `${part === "ENC" ? "encoder" : "decoder"} block ${block}${step ? `, step ${step} (D${step})` : ""}`;
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
// zero and top: what stands for 0 and for the upper limit, which are others in an integer network.
export function figuresOf({ data, shape }, { zero, top } = { zero: 0, top: 6 }) {
  const C = shape[2];
  const channels = Array.from({ length: C }, () => [Infinity, -Infinity]);
  let [sum, zeros, sixes, wrong] = [0, 0, 0, 0];
  for (let k = 0, c = 0; k < data.length; k++, c = c + 1 < C ? c + 1 : 0) {
    const value = data[k];
    const range = channels[c];
    if (value < range[0]) range[0] = value;
    if (value > range[1]) range[1] = value;
    sum += value;
    if (value === zero) zeros++;
    else if (value === top) sixes++;
    else if (!Number.isFinite(value)) wrong++;
  }
  const dead = channels.flatMap(([low, high], c) => (low === zero && high === zero ? [c] : []));
  const low = Math.min(...channels.map(([least]) => least));
  const high = Math.max(...channels.map(([, most]) => most));
  const n = data.length || 1;
  return { low, high, mean: sum / n, zeros: zeros / n, sixes: sixes / n, wrong, dead, channels };
}

// What a range says where there is one: of nothing but NaN there is none.
export function rangeText(low, high, between = " to ") {
  return low <= high ? `${briefly(low)}${between}${briefly(high)}` : "no number";
}

export function statistics({ low, high, mean, zeros, sixes, dead, wrong }, { zero, top, isShown }) {
  const parts = [
    `Range ${rangeText(low, high)}, mean ${briefly(mean)}; ${percent(zeros)} exactly ${zero}`,
    zero ? ", which stands for 0" : "",
    isShown ? `, ${percent(sixes)} at ${top}` : "",
    wrong ? `, ${counted(wrong)} not finite` : "",
    dead.length
      ? `. Dead channels (${zero} everywhere on this input): ${dead.slice(0, 20).join(", ")}${dead.length > 20 ? ", …" : ""}`
      : ". No dead channel",
  ];
  return parts.join("");
}

// The values that stand for 0 and for a layer's upper limit, and whether it has one.
export function limitsOf(name, node, { integer, tensors }) {
  if (!integer) return { zero: 0, top: 6, isShown: node?.op === "relu6" };
  const { zeroPoint, limits } = tensors[name];
  return { zero: zeroPoint, top: node?.attrs.act_max ?? limits[1], isShown: true };
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
