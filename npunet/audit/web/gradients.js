// The gradient of a loss by backpropagation, and who hands how much of it to one number.

import { BETWEEN, flat, unflat } from "./apart.js";
import { LOSSES } from "./losses.js";
import { likeliest } from "./overview.js";
import { source } from "./pointwise.js";
import { windowOf } from "./pooling.js";
import { WIDE, firstLargest, statisticsOf } from "./wide.js";

const [FIRST] = Object.keys(LOSSES);

// A loss (a name of losses.js) against labels (one class a position), its gradient for the output, and everything
// before it; or, with number = { layer, index }, one number of the network as if it were the loss.
// Returns { loss, labels, trace, dtrace, dweights }: tensors { data, shape } in float64 by name.
export function differentiate(network, output, labels, { loss: chosen = FIRST, number = null } = {}) {
  const weights = new Map(
    [...network.weights].map(([name, { data, shape }]) => [name, { data: Float64Array.from(data), shape }]),
  );
  const { data, shape } = network.tensors.get(network.input);
  const trace = new Map([[network.input, { data: Float64Array.from(data), shape }]]);
  for (const node of network.nodes) {
    const y = rule(network, node).forward(
      reads(network, node, trace),
      named(node, weights),
      network.attrsOf(node),
      node.shape,
    );
    trace.set(node.name, { data: y, shape: node.shape });
  }
  const last = trace.get(output);
  const wanted = labels ?? likeliest(last);
  const isProbability = network.byName.get(output)?.op === "softmax";
  const { loss, dy } = number ? itself(trace, number) : LOSSES[chosen](last, wanted, isProbability);
  const dtrace = new Map(
    [...trace].map(([name, { data: y, shape: of }]) => [name, { data: new Float64Array(y.length), shape: of }]),
  );
  dtrace.set(number?.layer ?? output, { data: dy, shape: trace.get(number?.layer ?? output).shape });
  const dweights = new Map();
  for (const node of network.nodes.toReversed()) {
    const back = rule(network, node).backward(
      dtrace.get(node.name).data,
      reads(network, node, trace),
      named(node, weights),
      network.attrsOf(node),
      node.shape,
      trace.get(node.name).data,
    );
    const { zeroed } = network.changes.get(node.name) ?? {};
    node.inputs.forEach((name, k) => {
      collect(
        dtrace,
        name,
        k === zeroed ? new Float64Array(trace.get(name).data.length) : back.inputs[k],
        trace.get(name).shape,
      );
    });
    node.weights.forEach((name, k) => {
      if (back.weights[k]) collect(dweights, name, back.weights[k], weights.get(name).shape);
    });
  }
  return { loss, labels: wanted, trace, dtrace, dweights };
}

// A number is its own loss: its gradient is 1 there and 0 elsewhere.
function itself(trace, { layer, index }) {
  const { data, shape } = trace.get(layer);
  const dy = new Float64Array(data.length);
  dy[flat(shape, index)] = 1;
  return { loss: data[flat(shape, index)], dy };
}

const rule = (network, node) => WIDE[network.operatorOf(node)];
const named = (node, weights) => node.weights.map((name) => weights.get(name));

function reads(network, node, trace) {
  const { zeroed } = network.changes.get(node.name) ?? {};
  return node.inputs.map((name, k) => {
    const tensor = trace.get(name);
    return k === zeroed ? { data: new Float64Array(tensor.data.length), shape: tensor.shape } : tensor;
  });
}

function collect(home, name, gradient, shape) {
  const known = home.get(name);
  home.set(name, { data: known ? known.data.map((value, k) => value + gradient[k]) : gradient, shape });
}

// Every number that depends directly on the element `index` of a layer: [{ tensor, at, dy, slope }].
export function sharesOf(network, found, layer, index) {
  return (network.readers.get(layer) ?? []).flatMap((node) => {
    const { zeroed } = network.changes.get(node.name) ?? {};
    const dy = found.dtrace.get(node.name);
    return node.inputs.flatMap((name, which) =>
      name !== layer || which === zeroed
        ? []
        : slopesOf(network, found.trace, node, which, index).map(({ at, slope }) => ({
            tensor: node.name,
            at,
            slope,
            dy: dy.data[flat(dy.shape, at)],
          })),
    );
  });
}

function slopesOf(network, trace, node, which, [row, column, c]) {
  const op = network.operatorOf(node);
  const attrs = network.attrsOf(node);
  const x = trace.get(node.inputs[which]);
  const weights = named(node, network.weights);
  const [OH, OW, F] = node.shape;
  const here = (slope) => [{ at: [row, column, c], slope }];
  if (WIDE[op].slope) return here(WIDE[op].slope(x.data[flat(x.shape, [row, column, c])]));
  if (op === "add") return here(1);
  if (op === "concat") {
    const before = node.inputs.slice(0, which).reduce((sum, name) => sum + trace.get(name).shape[2], 0);
    return [{ at: [row, column, before + c], slope: 1 }];
  }
  if (op === "batch_norm_inference") {
    return here(weights[0].data[c] / Math.sqrt(weights[3].data[c] + attrs.eps));
  }
  if (op === "upsample_nearest2d") {
    return places(OH, OW)
      .filter(
        ([i, j]) =>
          source(i, attrs.factor[0], attrs.phase, x.shape[0]) === row &&
          source(j, attrs.factor[1], attrs.phase, x.shape[1]) === column,
      )
      .map((at) => ({ at: [...at, c], slope: 1 }));
  }
  if (op === "max_pool2d" || op === "avg_pool2d") return poolSlopes(op, x, attrs, node.shape, [row, column, c]);
  if (op === "softmax") {
    const y = trace.get(node.name).data.subarray((row * OW + column) * F, (row * OW + column + 1) * F);
    return Array.from(y, (value, k) => ({ at: [row, column, k], slope: value * ((k === c ? 1 : 0) - y[c]) }));
  }
  if (op === "layer_norm") return layerNormSlopes(x, weights[0], attrs.eps, [row, column, c]);
  if (!["conv2d", "depthwise_conv2d", "separable_conv2d"].includes(op)) throw new Error(`no slopes of ${op}`);
  return convolutionSlopes(node, weights, attrs, [row, column, c]);
}

function places(H, W) {
  return Array.from({ length: H * W }, (_, p) => unflat([H, W], p));
}

function poolSlopes(op, x, attrs, [OH, OW], [row, column, c]) {
  return places(OH, OW).flatMap(([i, j]) => {
    const covered = windowOf(i, j, x.shape, attrs);
    if (!covered.some(([v, u]) => v === row && u === column)) return [];
    if (op === "avg_pool2d") return [{ at: [i, j, c], slope: 1 / covered.length }];
    const taken = firstLargest(x, covered, x.shape[1], c) === flat(x.shape, [row, column, c]);
    return taken ? [{ at: [i, j, c], slope: 1 }] : [];
  });
}

function layerNormSlopes(x, gamma, eps, [row, column, c]) {
  const [H, W, C] = x.shape;
  const [mean, inv] = statisticsOf(x, eps, c);
  const h = (p) => (x.data[p * C + c] - mean) * inv;
  const own = row * W + column;
  return places(H, W).map(([i, j], p) => ({
    at: [i, j, c],
    slope: gamma.data[p] * inv * ((p === own ? 1 : 0) - (1 + h(p) * h(own)) / (H * W)),
  }));
}

// The outputs that read a position through some tap; the slope is the weight (of a separable one: the product of two).
function convolutionSlopes(node, weights, { stride, pads, dilation }, [row, column, c]) {
  const [OH, OW, F] = node.shape;
  const [w, second] = weights;
  const [KH, KW, , M] = w.shape;
  const found = [];
  for (let ky = KH - 1; ky >= 0; ky--) {
    for (let kx = KW - 1; kx >= 0; kx--) {
      const i = (row + pads[0][0] - ky * dilation[0]) / stride[0];
      const j = (column + pads[1][0] - kx * dilation[1]) / stride[1];
      if (!(Number.isInteger(i) && Number.isInteger(j) && i >= 0 && i < OH && j >= 0 && j < OW)) continue;
      const weight = (k) => w.data[flat(w.shape, [ky, kx, c, k])];
      if (node.op === "depthwise_conv2d") {
        for (let m = 0; m < M; m++) found.push({ at: [i, j, c * M + m], slope: weight(m) });
      } else if (node.op === "conv2d") {
        for (let f = 0; f < F; f++) found.push({ at: [i, j, f], slope: weight(f) });
      } else {
        for (let f = 0; f < F; f++) {
          let slope = 0;
          for (let m = 0; m < M; m++) slope += weight(m) * second.data[(c * M + m) * F + f];
          found.push({ at: [i, j, f], slope });
        }
      }
    }
  }
  return found;
}

// The gradient panel knows layers only, not the inside of a separable convolution.
export const hasGradient = (layer) => !layer.endsWith(BETWEEN);
