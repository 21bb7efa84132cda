// One integer taken apart: the accumulator product by product, then the requantisation step by step.
// The result has the form of apart.js: { terms, steps, choice }.

import {
  highMultiply,
  lookUp,
  meanOf,
  raised,
  reduced,
  requantize,
  requantizeWide,
  roundingShift,
} from "./integers.js";
import { windowOf } from "./pooling.js";

const flatIndex = (shape, index) => index.reduce((at, k, axis) => at * shape[axis] + k, 0);

// scene: { node, attrs, inputs, weights } of a layer; index: [i, j, c]
export function integerApart(scene, index, output) {
  const arrays = Object.fromEntries(scene.attrs.arrays.map((name, k) => [name, scene.weights[k]]));
  const rule = RULES[scene.node.op] ?? byFormula;
  return rule({ ...scene, arrays, output }, index);
}

function requantisation(acc, m, s, { rounding, wide }) {
  if (wide) {
    return [
      { text: `m' = the upper 16 bits of m = ${m}, rounded`, value: reduced(m) },
      { text: `(acc · m' + 2^${14 - s}) >> ${15 - s}`, value: requantizeWide(acc, m, s) },
    ];
  }
  if (rounding === "S") {
    return [{ text: `(acc · ${m} + 2^${30 - s}) >> ${31 - s}: rounded once`, value: requantize(acc, m, s, "S") }];
  }
  const high = highMultiply(acc * 2 ** Math.max(s, 0), m);
  const moved = s > 0 ? `(acc << ${s})` : "acc";
  const steps = [{ text: `h = (${moved} · ${m} + 2^30) >> 31: rounded`, value: high }];
  if (s < 0) steps.push({ text: `h / 2^${-s}, ties away from zero: rounded again`, value: roundingShift(high, -s) });
  return steps;
}

function finished(steps, attrs, offset = true) {
  let y = steps.at(-1).value;
  if (offset) {
    y += attrs.output_offset;
    steps.push({ text: `+ the output's zero point ${attrs.output_offset}`, value: y });
  }
  const [low, high] = [attrs.act_min, attrs.act_max];
  steps.push({ text: `clamped to ${low} … ${high}`, value: Math.min(Math.max(y, low), high) });
  return steps;
}

function entering({ node, inputs }, at, which = 0) {
  const { data, shape } = inputs[which];
  return { text: "q", value: data[flatIndex(shape, at)], tensor: node.inputs[which], at };
}

function convolution({ node, attrs, inputs: [x], arrays }, [i, j, f]) {
  const { weights: w, bias, multiplier, shift } = arrays;
  const [KH, KW, C, M] = w.shape;
  const depthwise = node.op === "depthwise_conv2d";
  const channels = depthwise ? [Math.floor(f / M)] : Array.from({ length: C }, (_, c) => c);
  const terms = [];
  let total = bias.data[f];
  for (let ky = 0; ky < KH; ky++) {
    for (let kx = 0; kx < KW; kx++) {
      const row = i * attrs.stride[0] + ky * attrs.dilation[0] - attrs.pads[0][0];
      const column = j * attrs.stride[1] + kx * attrs.dilation[1] - attrs.pads[1][0];
      const inside = row >= 0 && row < x.shape[0] && column >= 0 && column < x.shape[1];
      for (const c of channels) {
        const weightAt = [ky, kx, c, depthwise ? f % M : f];
        const centred = inside ? x.data[flatIndex(x.shape, [row, column, c])] + attrs.input_offset : 0;
        const weight = w.data[flatIndex(w.shape, weightAt)];
        total += centred * weight;
        terms.push({
          tensor: node.inputs[0],
          at: inside ? [row, column, c] : null,
          x: centred,
          weight: node.weights[0],
          weightAt,
          w: weight,
          product: centred * weight,
          seq: total,
          seq_fma: total,
        });
      }
    }
  }
  const steps = [{ text: `acc, from the bias ${bias.data[f]}`, value: total, weight: node.weights[1], weightAt: [f] }];
  steps.push(...requantisation(total, multiplier.data[f], shift.data[f], attrs));
  return { terms, steps: finished(steps, attrs), choice: -1 };
}

function add(scene, index) {
  const { attrs } = scene;
  const steps = [];
  for (const which of [1, 2]) {
    const q = entering(scene, index, which - 1);
    const lifted = (q.value + attrs[`input${which}_offset`]) * 2 ** attrs.left_shift;
    steps.push(q, { text: `acc = (q + ${attrs[`input${which}_offset`]}) << ${attrs.left_shift}`, value: lifted });
    steps.push(...requantisation(lifted, attrs[`input${which}_multiplier`], attrs[`input${which}_shift`], attrs));
  }
  const [a, b] = [1, 2].map((which) => raised(entering(scene, index, which - 1).value, which, attrs));
  steps.push({ text: "acc = the sum of the two", value: a + b });
  steps.push(...requantisation(a + b, attrs.output_multiplier, attrs.output_shift, attrs));
  return { terms: [], steps: finished(steps, attrs), choice: -1 };
}

function rescale(scene, index) {
  const { attrs, node } = scene;
  const q = entering(scene, index);
  const centred = q.value + attrs.input_offset;
  const sign = node.op === "rescale" ? "" : centred >= 0 ? "positive_" : "negative_";
  const steps = [q, { text: `acc = q + ${attrs.input_offset}`, value: centred }];
  steps.push(...requantisation(centred, attrs[`${sign}multiplier`], attrs[`${sign}shift`], attrs));
  return { terms: [], steps: finished(steps, attrs), choice: -1 };
}

function pool({ node, attrs, inputs: [x] }, [i, j, c]) {
  const terms = windowOf(i, j, x.shape, attrs).map(([row, column]) => ({
    tensor: node.inputs[0],
    at: [row, column, c],
    x: x.data[flatIndex(x.shape, [row, column, c])],
  }));
  if (node.op === "max_pool2d") {
    let choice = 0;
    terms.forEach(({ x: value }, k) => {
      if (value > terms[choice].x) choice = k;
    });
    return { terms, steps: finished([{ text: "the largest", value: terms[choice].x }], attrs, false), choice };
  }
  let total = 0;
  for (const term of terms) {
    total += term.x;
    term.seq = total;
    term.seq_fma = total;
  }
  const mean = {
    text: `${total} / ${terms.length}, half away from zero`,
    value: meanOf(terms.map(({ x: value }) => value)),
  };
  return { terms, steps: finished([mean], attrs, false), choice: -1 };
}

function concat(scene, [i, j, c]) {
  let which = 0;
  let channel = c;
  for (; channel >= scene.inputs[which].shape[2]; which++) channel -= scene.inputs[which].shape[2];
  return { terms: [], steps: [entering(scene, [i, j, channel], which)], choice: -1 };
}

function upsample(scene, [i, j, c]) {
  const [fy, fx] = scene.attrs.factor;
  return { terms: [], steps: [entering(scene, [Math.floor(i / fy), Math.floor(j / fx), c])], choice: -1 };
}

function table(scene, index) {
  const { data: entries } = scene.arrays.table;
  const q = entering(scene, index);
  const told =
    entries.length === 256
      ? `entry ${q.value + 128} of the table of 256`
      : "a straight line between two entries of the table";
  return { terms: [], steps: [q, { text: told, value: lookUp(q.value, entries) }], choice: -1 };
}

// Softmax and layer norm: what is read, and what the formula makes of it.
function byFormula(scene, index) {
  const [i, j] = index;
  const reads =
    scene.node.op === "layer_norm"
      ? [entering(scene, index)]
      : Array.from({ length: scene.inputs[0].shape[2] }, (_, k) => entering(scene, [i, j, k]));
  const value = scene.output.data[flatIndex(scene.output.shape, index)];
  return {
    terms: [],
    steps: [...reads, { text: "by the formula of the operator, from all of these", value }],
    choice: -1,
  };
}

const RULES = {
  conv2d: convolution,
  depthwise_conv2d: convolution,
  add,
  rescale,
  leaky_relu: rescale,
  max_pool2d: pool,
  avg_pool2d: pool,
  concat,
  upsample_nearest2d: upsample,
  table,
};
