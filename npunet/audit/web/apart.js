// One number of the network, taken apart: every product in the declared order with the running sum, or every step.
//
// The result is { terms, steps, choice, value }:
//   terms   [{ tensor, at, x, weight, weightAt, w, product, seq, seq_fma }]: what was added, in order, and both running
//           sums; at is null in the padding; a term without a weight is a candidate (pooling) or a plain summand
//   steps   [{ text, value, tensor, at, weight, weightAt }]: what is done before (first: true) or after the terms
//   choice  the number of the term that a maximum takes, or -1
//   value   as the network has it

import { ONE_BY_ONE, halfway } from "./convolution.js";
import { integerApart } from "./integers_apart.js";
import { exp32, expm132 } from "./exponential.js";
import { fl } from "./float32.js";
import { fma32 } from "./fma.js";
import { layerStatistics, scaleShift } from "./norms.js";
import { source } from "./pointwise.js";
import { windowOf } from "./pooling.js";
import { OPERATORS } from "./network.js";

export const BETWEEN = "/depthwise"; // the depthwise half of a separable convolution, where it is no layer of its own

// Where an element stands in a row-major array.
export function flat(shape, index) {
  return index.reduce((at, k, axis) => at * shape[axis] + k, 0);
}

export function unflat(shape, at) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(at % shape[axis]);
    at = Math.floor(at / shape[axis]);
  }
  return index;
}

// A tensor by name, the depthwise half of a separable convolution included.
export function tensorOf(network, name) {
  const node = halved(network, name);
  if (!node) return network.tensors.get(name);
  const inputs = network.operands(node);
  if (inputs.includes(undefined)) return undefined;
  const kernel = network.weights.get(node.weights[0]);
  const shape = halfway(kernel, node.shape);
  return { data: OPERATORS.depthwise_conv2d(inputs, [kernel], node.attrs, shape, network.arithmetic), shape };
}

// The separable convolution whose depthwise half has this name; undefined for any other name.
function halved(network, name) {
  if (network.isInteger || network.byName.has(name) || !name.endsWith(BETWEEN)) return undefined;
  return network.byName.get(name.slice(0, -BETWEEN.length));
}

// The shape of a tensor by name, computed or not; undefined for a name that is not there.
export function shapeOf(network, name) {
  const node = halved(network, name);
  return node ? halfway(network.weights.get(node.weights[0]), node.shape) : network.shapeOf(name);
}

// Take apart the element [i, j, c] of a tensor; null for the network's input, which comes from nowhere.
export function takeApart(network, name, index) {
  const tensor = tensorOf(network, name);
  const node = network.byName.get(name);
  const value = tensor.data[flat(tensor.shape, index)];
  if (name === network.input) return null;
  if (network.isInteger) return { value, ...integerApart(scene(network, node), index, tensor) };
  if (!node) {
    const whole = network.byName.get(name.slice(0, -BETWEEN.length));
    return { choice: -1, value, ...depthwise(scene(network, whole), index) };
  }
  return { terms: [], steps: [], choice: -1, value, ...APART[network.operatorOf(node)](scene(network, node), index) };
}

function scene(network, node) {
  return {
    network,
    node,
    attrs: network.attrsOf(node),
    inputs: network.operands(node),
    weights: node.weights.map((weight) => network.weights.get(weight)),
  };
}

function running(terms) {
  let seq = 0;
  let fused = 0;
  for (const term of terms) {
    term.product = fl(term.x * term.w);
    seq = fl(seq + term.product);
    fused = fma32(term.x, term.w, fused);
    term.seq = seq;
    term.seq_fma = fused;
  }
  return { seq, seq_fma: fused };
}

// The terms of a convolution over the positions that its taps read; the channels that take part by `channels`.
function products({ node, attrs, inputs }, weight, [i, j], channels, weightAt) {
  const [{ data, shape }] = inputs;
  const [H, W] = shape;
  const terms = [];
  for (let ky = 0; ky < weight.shape[0]; ky++) {
    for (let kx = 0; kx < weight.shape[1]; kx++) {
      const row = i * attrs.stride[0] + ky * attrs.dilation[0] - attrs.pads[0][0];
      const column = j * attrs.stride[1] + kx * attrs.dilation[1] - attrs.pads[1][0];
      const inside = row >= 0 && row < H && column >= 0 && column < W;
      for (const c of channels) {
        const from = weightAt(ky, kx, c);
        terms.push({
          tensor: node.inputs[0],
          at: inside ? [row, column, c] : null,
          x: inside ? data[flat(shape, [row, column, c])] : 0,
          weightAt: from,
          w: weight.data[flat(weight.shape, from)],
        });
      }
    }
  }
  return terms;
}

function withBias(result, sums, name, bias, f) {
  if (!bias) return result;
  const b = bias.data[f];
  result.steps.push({
    text: "add the bias",
    value: fl(sums.seq + b),
    fused: fl(sums.seq_fma + b),
    weight: name,
    weightAt: [f],
    addend: b,
  });
  return result;
}

function dense(part, index) {
  const {
    node,
    weights: [weight, bias],
  } = part;
  const f = index[2];
  const channels = Array.from({ length: weight.shape[2] }, (_, c) => c);
  const terms = products(part, weight, index, channels, (ky, kx, c) => [ky, kx, c, f]);
  for (const term of terms) term.weight = node.weights[0];
  return withBias({ terms, steps: [] }, running(terms), node.weights[1], bias, f);
}

function depthwise(part, index) {
  const {
    node,
    weights: [weight, bias],
  } = part;
  const M = weight.shape[3];
  const c = Math.floor(index[2] / M);
  const terms = products(part, weight, index, [c], (ky, kx) => [ky, kx, c, index[2] % M]);
  for (const term of terms) term.weight = node.weights[0];
  const own = node.op === "depthwise_conv2d" ? bias : null;
  return withBias({ terms, steps: [] }, running(terms), node.weights[1], own, index[2]);
}

function separable({ network, node, weights: [, kernel, bias] }, index) {
  const name = node.name + BETWEEN;
  const between = tensorOf(network, name);
  const part = { node: { inputs: [name] }, attrs: ONE_BY_ONE, inputs: [between] };
  const channels = Array.from({ length: kernel.shape[2] }, (_, c) => c);
  const terms = products(part, kernel, index, channels, (ky, kx, c) => [ky, kx, c, index[2]]);
  for (const term of terms) term.weight = node.weights[1];
  return withBias({ terms, steps: [] }, running(terms), node.weights[2], bias, index[2]);
}

function candidates({ node, attrs, inputs: [x] }, [i, j, c]) {
  return windowOf(i, j, x.shape, attrs).map(([row, column]) => ({
    tensor: node.inputs[0],
    at: [row, column, c],
    x: x.data[flat(x.shape, [row, column, c])],
  }));
}

function largest(part, index) {
  const terms = candidates(part, index);
  let choice = 0;
  terms.forEach(({ x }, k) => {
    if (x > terms[choice].x || Number.isNaN(x)) choice = k;
  });
  return { terms, choice };
}

function mean(part, index) {
  const terms = candidates(part, index);
  let total = 0;
  for (const term of terms) {
    total = fl(total + term.x);
    term.seq = total;
    term.seq_fma = total;
  }
  return {
    terms,
    steps: [{ text: `divide by the ${terms.length} positions inside`, value: fl(total / terms.length) }],
  };
}

// The input's element of the same index, as a first step.
function same({ node, inputs }, index, which = 0, name = "x") {
  const { data, shape } = inputs[which];
  return { text: name, value: data[flat(shape, index)], tensor: node.inputs[which], at: index };
}

function pointwise(rule) {
  return (part, index) => {
    const x = same(part, index);
    return { steps: [x, ...rule(x.value)] };
  };
}

function batchNorm(part, index) {
  const { node, attrs, weights } = part;
  const c = index[2];
  const x = same(part, index);
  const [inv, shift] = scaleShift(weights, attrs.eps, c);
  const named = ["gamma", "beta", "mean", "variance"].map((name, k) => ({
    text: name,
    value: weights[k].data[c],
    weight: node.weights[k],
    weightAt: [c],
  }));
  return {
    steps: [
      x,
      ...named,
      { text: `inv = fl(gamma · fl(1 / fl(sqrt(fl(variance + ${attrs.eps})))))`, value: inv },
      { text: "shift = fl(beta − fl(mean · inv))", value: shift },
      { text: "fl(x · inv)", value: fl(x.value * inv) },
      { text: "fl(fl(x · inv) + shift)", value: fl(fl(x.value * inv) + shift) },
    ],
  };
}

function layerNorm(part, index) {
  const {
    node,
    attrs,
    inputs,
    weights: [gamma, beta],
  } = part;
  const place = index.slice(0, 2);
  const at = flat(gamma.shape, place);
  const x = same(part, index);
  const [centre, inv] = layerStatistics(inputs[0], attrs.eps, index[2]);
  const scale = fl(inv * gamma.data[at]);
  const centred = fl(x.value - centre);
  return {
    steps: [
      x,
      { text: `mean of channel ${index[2]} over all positions (float64, rounded once)`, value: centre },
      { text: `inv = fl(1 / sqrt(variance + ${attrs.eps}))`, value: inv },
      { text: "gamma at this position", value: gamma.data[at], weight: node.weights[0], weightAt: place },
      { text: "beta at this position", value: beta.data[at], weight: node.weights[1], weightAt: place },
      { text: "scale = fl(inv · gamma)", value: scale },
      { text: "fl(x − mean)", value: centred },
      { text: "fl(fl(fl(x − mean) · scale) + beta)", value: fl(fl(centred * scale) + beta.data[at]) },
    ],
  };
}

function softmax({ node, inputs: [x] }, [i, j, k]) {
  const K = x.shape[2];
  const scores = Array.from({ length: K }, (_, l) => x.data[flat(x.shape, [i, j, l])]);
  const top = Math.max(...scores);
  const steps = [{ text: "m, the largest score of this position", value: top }];
  let total = 0;
  const powers = scores.map((score, l) => {
    const power = exp32(fl(score - top));
    total = fl(total + power);
    steps.push({
      text: `exp(fl(x[${l}] − m)); running sum ${total}`,
      value: power,
      tensor: node.inputs[0],
      at: [i, j, l],
    });
    return power;
  });
  steps.push({ text: "the sum s", value: total }, { text: `fl(e[${k}] / s)`, value: fl(powers[k] / total) });
  return { steps };
}

const expm1Step = (x) => ({ text: "exp(x) − 1 by the declared exponential", value: expm132(x) });
const branch = (text, value) => [{ text, value }];

const APART = {
  conv2d: dense,
  depthwise_conv2d: depthwise,
  separable_conv2d: separable,
  max_pool2d: largest,
  avg_pool2d: mean,
  batch_norm_inference: batchNorm,
  layer_norm: layerNorm,
  softmax,
  relu6: pointwise((x) =>
    x > 6
      ? branch("above 6, so 6", 6)
      : x <= 0
        ? branch("not above 0, so 0", 0)
        : branch("between 0 and 6: as it is", x),
  ),
  relu: pointwise((x) => (x <= 0 ? branch("not above 0, so 0", 0) : branch("above 0: as it is", x))),
  leaky_relu: pointwise((x) => (x > 0 ? branch("above 0: as it is", x) : branch("fl(0.2 · x)", fl(fl(0.2) * x)))),
  elu: pointwise((x) => (x > 0 ? branch("above 0: as it is", x) : [expm1Step(x)])),
  selu: pointwise((x) =>
    x > 0
      ? branch("fl(1.0507 · x)", fl(fl(1.0507009873554805) * x))
      : [
          expm1Step(x),
          { text: "times 1.7581, rounded", value: fl(fl(1.0507009873554805 * 1.6732632423543772) * expm132(x)) },
        ],
  ),
  dropout_inference: pointwise((x) => branch("outside training dropout does nothing", x)),
  add(part, index) {
    const [a, b] = [same(part, index, 0, "a"), same(part, index, 1, "b")];
    return { steps: [a, b, { text: "fl(a + b)", value: fl(a.value + b.value) }] };
  },
  concat(part, [i, j, c]) {
    let which = 0;
    for (; c >= part.inputs[which].shape[2]; which++) c -= part.inputs[which].shape[2];
    return { steps: [same(part, [i, j, c], which, `channel ${c} of input ${which + 1}`)] };
  },
  upsample_nearest2d(part, [i, j, c]) {
    const {
      attrs: { factor, phase },
      inputs: [x],
    } = part;
    const at = [source(i, factor[0], phase, x.shape[0]), source(j, factor[1], phase, x.shape[1]), c];
    return { steps: [same(part, at, 0, "the nearest element, repeated")] };
  },
};
