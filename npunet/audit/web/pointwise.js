// Operators that take one element at a time, and those that only move elements.

import { exp32, expm132 } from "./exponential.js";
import { fl } from "./float32.js";

const LEAKY_SLOPE = fl(0.2);
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

// y = min(max(x, 0), 6); a zero comes out as +0, NaN as NaN
export function relu6([{ data }]) {
  const y = data.slice();
  for (let k = 0; k < y.length; k++) y[k] = y[k] > 6 ? 6 : y[k] <= 0 ? 0 : y[k];
  return y;
}

// y = max(x, 0); a zero comes out as +0
export function relu([{ data }]) {
  const y = data.slice();
  for (let k = 0; k < y.length; k++) y[k] = y[k] <= 0 ? 0 : y[k];
  return y;
}

// y = x for x > 0, fl(0.2 * x) otherwise
export function leakyRelu([x]) {
  return x.data.map((value) => (value > 0 ? value : fl(LEAKY_SLOPE * value)));
}

// y = x for x > 0, expm1(x) otherwise
export function elu([x]) {
  return x.data.map((value) => (value > 0 ? value : expm132(value)));
}

// y = fl(scale * x) for x > 0, fl(scale_alpha * expm1(x)) otherwise
export function selu([x]) {
  const scale = fl(SELU_SCALE);
  const scaleAlpha = fl(SELU_SCALE * SELU_ALPHA);
  return x.data.map((value) => (value > 0 ? fl(scale * value) : fl(scaleAlpha * expm132(value))));
}

// y = fl(a + b)
export function add([a, b]) {
  const y = new Float32Array(a.data.length);
  for (let k = 0; k < y.length; k++) y[k] = a.data[k] + b.data[k];
  return y;
}

// The channels of one tensor after those of another, at every position
export function concat(tensors, weights, attrs, [H, W, C]) {
  const y = new tensors[0].data.constructor(H * W * C);
  let first = 0;
  for (const { data, shape } of tensors) {
    const channels = shape[2];
    for (let p = 0; p < H * W; p++) y.set(data.subarray(p * channels, (p + 1) * channels), p * C + first);
    first += channels;
  }
  return y;
}

// y[i, j, c] = x[i div fy, j div fx, c]. phase shifts which sample is repeated (0 in the network, others to try out).
export function upsampleNearest2d([x], weights, { factor, phase = 0 }, [OH, OW, C]) {
  const [H, W] = x.shape;
  const y = new x.data.constructor(OH * OW * C);
  for (let i = 0; i < OH; i++) {
    for (let j = 0; j < OW; j++) {
      const from = (source(i, factor[0], phase, H) * W + source(j, factor[1], phase, W)) * C;
      y.set(x.data.subarray(from, from + C), (i * OW + j) * C);
    }
  }
  return y;
}

// Which sample of `size` the upsampled position `at` repeats.
export function source(at, factor, phase, size) {
  return factor === 1 ? at : Math.min(size - 1, Math.floor((at + phase) / factor));
}

// Outside training dropout does nothing.
export function dropoutInference([x]) {
  return x.data.slice();
}

// y[k] = exp(x[k] - m) / sum of all, m the largest; e = exp(fl(x - m)), summed in order from +0, then divided
export function softmax([x], weights, attrs, [H, W, K]) {
  const y = new Float32Array(H * W * K);
  for (let p = 0; p < H * W; p++) {
    const scores = x.data.subarray(p * K, (p + 1) * K);
    let largest = scores[0];
    for (const score of scores) if (score > largest || Number.isNaN(score)) largest = score;
    let sum = 0;
    for (let k = 0; k < K; k++) {
      y[p * K + k] = exp32(fl(scores[k] - largest));
      sum = fl(sum + y[p * K + k]);
    }
    for (let k = 0; k < K; k++) y[p * K + k] = fl(y[p * K + k] / sum);
  }
  return y;
}
