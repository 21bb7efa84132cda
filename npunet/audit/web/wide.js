// The network in float64, for gradients: every forward with its backward under it, by the formulas of npunet/ops.
//
// forward: (inputs, weights, attrs, shape) -> Float64Array.  backward: (dy, inputs, weights, attrs, shape, y) ->
// { inputs: [dLoss/d(input), ...], weights: [dLoss/d(weight) or null, ...] }, null for what is a constant.
// Sums run in no declared order here: these numbers are compared to 1e-12, not to the bit.

import { ONE_BY_ONE, halfway } from "./convolution.js";
import { concat, dropoutInference, relu, relu6, source, upsampleNearest2d } from "./pointwise.js";
import { maxPool2d, windowOf } from "./pooling.js";

const LEAKY_SLOPE = Math.fround(0.2);
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;
const zeros = (tensor) => new Float64Array(tensor.data.length);

// Call visit(output position, input position, tap) for every tap that lies inside the image.
function eachTap(x, w, { stride, pads, dilation }, [OH, OW], visit) {
  const [H, W] = x.shape;
  const [KH, KW] = w.shape;
  for (let i = 0; i < OH; i++) {
    for (let j = 0; j < OW; j++) {
      for (let ky = 0; ky < KH; ky++) {
        for (let kx = 0; kx < KW; kx++) {
          const row = i * stride[0] + ky * dilation[0] - pads[0][0];
          const column = j * stride[1] + kx * dilation[1] - pads[1][0];
          if (row >= 0 && row < H && column >= 0 && column < W) visit(i * OW + j, row * W + column, ky * KW + kx);
        }
      }
    }
  }
}

function withBias(y, b) {
  if (b) for (let k = 0; k < y.length; k++) y[k] += b.data[k % b.data.length];
  return y;
}

function biasGradient(dy, b) {
  if (!b) return null;
  const db = zeros(b);
  for (let k = 0; k < dy.length; k++) db[k % db.length] += dy[k];
  return db;
}

function conv([x], [w, b], attrs, shape) {
  const [, , C, F] = w.shape;
  const y = new Float64Array(shape.reduce((p, q) => p * q));
  eachTap(x, w, attrs, shape, (to, from, tap) => {
    for (let c = 0; c < C; c++) {
      const value = x.data[from * C + c];
      for (let f = 0; f < F; f++) y[to * F + f] += value * w.data[(tap * C + c) * F + f];
    }
  });
  return withBias(y, b);
}

// dx[from] += w . dy[to]: each tap hands its share back to where it read;  dw[tap] += x[from] dy[to];  db = sum dy
function convBackward(dy, [x], [w, b], attrs, shape) {
  const [, , C, F] = w.shape;
  const dx = zeros(x);
  const dw = zeros(w);
  eachTap(x, w, attrs, shape, (to, from, tap) => {
    for (let c = 0; c < C; c++) {
      for (let f = 0; f < F; f++) {
        const at = (tap * C + c) * F + f;
        dx[from * C + c] += w.data[at] * dy[to * F + f];
        dw[at] += x.data[from * C + c] * dy[to * F + f];
      }
    }
  });
  return { inputs: [dx], weights: [dw, biasGradient(dy, b)] };
}

function depthwise([x], [w, b], attrs, shape) {
  const [, , C, M] = w.shape;
  const y = new Float64Array(shape.reduce((p, q) => p * q));
  eachTap(x, w, attrs, shape, (to, from, tap) => {
    for (let k = 0; k < C * M; k++) y[to * C * M + k] += x.data[from * C + Math.floor(k / M)] * w.data[tap * C * M + k];
  });
  return withBias(y, b);
}

function depthwiseBackward(dy, [x], [w, b], attrs, shape) {
  const [, , C, M] = w.shape;
  const dx = zeros(x);
  const dw = zeros(w);
  eachTap(x, w, attrs, shape, (to, from, tap) => {
    for (let k = 0; k < C * M; k++) {
      const read = from * C + Math.floor(k / M);
      dx[read] += w.data[tap * C * M + k] * dy[to * C * M + k];
      dw[tap * C * M + k] += x.data[read] * dy[to * C * M + k];
    }
  });
  return { inputs: [dx], weights: [dw, biasGradient(dy, b)] };
}

function separable([x], [first, second, b], attrs, shape) {
  const between = halfway(first, shape);
  const h = { data: depthwise([x], [first], attrs, between), shape: between };
  return conv([h], [second, b], ONE_BY_ONE, shape);
}

function separableBackward(dy, [x], [first, second, b], attrs, shape) {
  const between = halfway(first, shape);
  const h = { data: depthwise([x], [first], attrs, between), shape: between };
  const {
    inputs: [dh],
    weights: [dsecond, db],
  } = convBackward(dy, [h], [second, b], ONE_BY_ONE, shape);
  const {
    inputs,
    weights: [dfirst],
  } = depthwiseBackward(dh, [x], [first], attrs, between);
  return { inputs, weights: [dfirst, dsecond, db] };
}

// dbeta = sum dy;  dgamma = sum dy (x - mean) / sqrt(var + eps);  dx = dy gamma / sqrt(var + eps)
function batchNorm([x], [gamma, beta, mean, variance], { eps }) {
  const C = gamma.data.length;
  return Float64Array.from(x.data, (value, k) => {
    const c = k % C;
    const inv = gamma.data[c] / Math.sqrt(variance.data[c] + eps);
    return value * inv + (beta.data[c] - mean.data[c] * inv);
  });
}

function batchNormBackward(dy, [x], [gamma, beta, mean, variance], { eps }) {
  const C = gamma.data.length;
  const [dx, dgamma, dbeta] = [zeros(x), zeros(gamma), zeros(beta)];
  for (let k = 0; k < dy.length; k++) {
    const c = k % C;
    const r = 1 / Math.sqrt(variance.data[c] + eps);
    dx[k] = dy[k] * gamma.data[c] * r;
    dgamma[c] += dy[k] * (x.data[k] - mean.data[c]) * r;
    dbeta[c] += dy[k];
  }
  return { inputs: [dx], weights: [dgamma, dbeta, null, null] };
}

// Mean and 1 / sqrt(variance + eps) of one channel over all positions.
export function statisticsOf(x, eps, c) {
  const [H, W, C] = x.shape;
  let mean = 0;
  for (let p = 0; p < H * W; p++) mean += x.data[p * C + c];
  mean /= H * W;
  let variance = 0;
  for (let p = 0; p < H * W; p++) variance += (x.data[p * C + c] - mean) ** 2;
  return [mean, 1 / Math.sqrt(variance / (H * W) + eps)];
}

function layerNorm([x], [gamma, beta], { eps }, [H, W, C]) {
  const y = zeros(x);
  for (let c = 0; c < C; c++) {
    const [mean, inv] = statisticsOf(x, eps, c);
    for (let p = 0; p < H * W; p++) y[p * C + c] = (x.data[p * C + c] - mean) * inv * gamma.data[p] + beta.data[p];
  }
  return y;
}

// h = (x - mean) inv;  dh = dy gamma;  dx = inv (dh - sum(dh) / n - h sum(dh h) / n)
function layerNormBackward(dy, [x], [gamma, beta], { eps }, [H, W, C]) {
  const n = H * W;
  const [dx, dgamma, dbeta] = [zeros(x), zeros(gamma), zeros(beta)];
  for (let c = 0; c < C; c++) {
    const [mean, inv] = statisticsOf(x, eps, c);
    let [sum, product] = [0, 0];
    for (let p = 0; p < n; p++) {
      const h = (x.data[p * C + c] - mean) * inv;
      sum += dy[p * C + c] * gamma.data[p];
      product += dy[p * C + c] * gamma.data[p] * h;
      dgamma[p] += dy[p * C + c] * h;
      dbeta[p] += dy[p * C + c];
    }
    for (let p = 0; p < n; p++) {
      const h = (x.data[p * C + c] - mean) * inv;
      dx[p * C + c] = inv * (dy[p * C + c] * gamma.data[p] - sum / n - (h * product) / n);
    }
  }
  return { inputs: [dx], weights: [dgamma, dbeta] };
}

// The first of the largest values of each window gets all of it.
function maxPoolBackward(dy, [x], weights, attrs, [OH, OW, C]) {
  const W = x.shape[1];
  const dx = zeros(x);
  for (let p = 0; p < OH * OW; p++) {
    const covered = windowOf(Math.floor(p / OW), p % OW, x.shape, attrs);
    for (let c = 0; c < C; c++) dx[firstLargest(x, covered, W, c)] += dy[p * C + c];
  }
  return { inputs: [dx], weights: [] };
}

export function firstLargest(x, covered, W, c) {
  const C = x.shape[2];
  let best = -1;
  for (const [row, column] of covered) {
    const at = (row * W + column) * C + c;
    if (best < 0 || x.data[at] > x.data[best]) best = at;
  }
  return best;
}

function meanPool([x], weights, attrs, [OH, OW, C]) {
  const y = new Float64Array(OH * OW * C);
  for (let p = 0; p < OH * OW; p++) {
    const covered = windowOf(Math.floor(p / OW), p % OW, x.shape, attrs);
    for (const [row, column] of covered) {
      for (let c = 0; c < C; c++) y[p * C + c] += x.data[(row * x.shape[1] + column) * C + c] / covered.length;
    }
  }
  return y;
}

function meanPoolBackward(dy, [x], weights, attrs, [OH, OW, C]) {
  const dx = zeros(x);
  for (let p = 0; p < OH * OW; p++) {
    const covered = windowOf(Math.floor(p / OW), p % OW, x.shape, attrs);
    for (const [row, column] of covered) {
      for (let c = 0; c < C; c++) dx[(row * x.shape[1] + column) * C + c] += dy[p * C + c] / covered.length;
    }
  }
  return { inputs: [dx], weights: [] };
}

// Every element collects what its copies get.
function upsampleBackward(dy, [x], weights, { factor, phase = 0 }, [, OW, C]) {
  const [H, W] = x.shape;
  const dx = zeros(x);
  for (let k = 0; k < dy.length; k++) {
    const [i, j, c] = [Math.floor(k / C / OW), Math.floor(k / C) % OW, k % C];
    dx[(source(i, factor[0], phase, H) * W + source(j, factor[1], phase, W)) * C + c] += dy[k];
  }
  return { inputs: [dx], weights: [] };
}

function concatBackward(dy, inputs, weights, attrs, [H, W, C]) {
  let first = 0;
  const dxs = inputs.map(({ shape: [, , channels] }) => {
    const start = first;
    first += channels;
    return Float64Array.from(
      { length: H * W * channels },
      (_, k) => dy[Math.floor(k / channels) * C + start + (k % channels)],
    );
  });
  return { inputs: dxs, weights: [] };
}

function softmax([x], weights, attrs, [H, W, K]) {
  const y = zeros(x);
  for (let p = 0; p < H * W; p++) {
    const scores = x.data.subarray(p * K, (p + 1) * K);
    const top = Math.max(...scores);
    let sum = 0;
    for (let k = 0; k < K; k++) sum += Math.exp(scores[k] - top);
    for (let k = 0; k < K; k++) y[p * K + k] = Math.exp(scores[k] - top) / sum;
  }
  return y;
}

// dx = y (dy - sum(dy y))
function softmaxBackward(dy, [x], weights, attrs, [H, W, K], y) {
  const dx = zeros(x);
  for (let p = 0; p < H * W; p++) {
    let sum = 0;
    for (let k = 0; k < K; k++) sum += dy[p * K + k] * y[p * K + k];
    for (let k = 0; k < K; k++) dx[p * K + k] = y[p * K + k] * (dy[p * K + k] - sum);
  }
  return { inputs: [dx], weights: [] };
}

// An elementwise operator by its value and its slope; at a kink the slope is the reference's.
function elementwise(value, slope) {
  return {
    forward: ([x]) => Float64Array.from(x.data, value),
    backward: (dy, [x]) => ({ inputs: [dy.map((d, k) => d * slope(x.data[k]))], weights: [] }),
    slope,
  };
}

export const WIDE = {
  conv2d: { forward: conv, backward: convBackward },
  depthwise_conv2d: { forward: depthwise, backward: depthwiseBackward },
  separable_conv2d: { forward: separable, backward: separableBackward },
  batch_norm_inference: { forward: batchNorm, backward: batchNormBackward },
  layer_norm: { forward: layerNorm, backward: layerNormBackward },
  max_pool2d: { forward: maxPool2d, backward: maxPoolBackward },
  avg_pool2d: { forward: meanPool, backward: meanPoolBackward },
  upsample_nearest2d: { forward: upsampleNearest2d, backward: upsampleBackward },
  concat: { forward: concat, backward: concatBackward },
  softmax: { forward: softmax, backward: softmaxBackward },
  add: {
    forward: ([a, b]) => a.data.map((value, k) => value + b.data[k]),
    backward: (dy) => ({ inputs: [dy, dy], weights: [] }),
  },
  relu6: { ...elementwise(null, (x) => (x > 0 && x < 6 ? 1 : 0)), forward: relu6 },
  relu: { ...elementwise(null, (x) => (x > 0 ? 1 : 0)), forward: relu },
  dropout_inference: { ...elementwise(null, () => 1), forward: dropoutInference },
  leaky_relu: elementwise(
    (x) => (x > 0 ? x : LEAKY_SLOPE * x),
    (x) => (x > 0 ? 1 : LEAKY_SLOPE),
  ),
  elu: elementwise(
    (x) => (x > 0 ? x : Math.expm1(x)),
    (x) => (x > 0 ? 1 : Math.exp(x)),
  ),
  selu: elementwise(
    (x) => (x > 0 ? SELU_SCALE * x : SELU_SCALE * SELU_ALPHA * Math.expm1(x)),
    (x) => (x >= 0 ? SELU_SCALE : SELU_SCALE * SELU_ALPHA * Math.exp(x)),
  ),
};
