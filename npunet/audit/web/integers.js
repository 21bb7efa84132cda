// The operators of an integer network, with the integers of npunet/integer/ops.
//
// Tensors hold whole numbers in Float32Array, which has room for 24 bits; sums and products of theirs are exact in
// float64. Arrays that are wider (bias, multiplier) come as Float64Array.

import { concat, upsampleNearest2d } from "./pointwise.js";
import { windowOf } from "./pooling.js";

// floor((a * b + 2^30) / 2^31) of 32-bit integers, exactly: b in two halves, so that no product needs over 48 bits.
export function highMultiply(a, b) {
  const upper = Math.floor(b / 65536);
  const lower = b - upper * 65536;
  return Math.floor((a * upper + Math.floor((a * lower + 2 ** 30) / 65536)) / 32768);
}

// x / 2^exponent, ties away from zero.
export function roundingShift(x, exponent) {
  if (exponent === 0) return x;
  const whole = Math.floor(x / 2 ** exponent);
  const rest = x - whole * 2 ** exponent;
  return whole + (rest > Math.floor((2 ** exponent - 1) / 2) + (x < 0 ? 1 : 0) ? 1 : 0);
}

// (x * m + 2^(n - 1)) >> n of integers of any size.
function shiftedProduct(x, m, n) {
  return Number((BigInt(x) * BigInt(m) + (1n << BigInt(n - 1))) >> BigInt(n));
}

// x * m * 2^(s - 31): "D" rounds twice, "S" once.
export function requantize(x, m, s, rounding) {
  if (rounding === "S") return shiftedProduct(x, m, 31 - s);
  return roundingShift(highMultiply(x * 2 ** Math.max(s, 0), m), Math.max(-s, 0));
}

// The same for an accumulator of up to 48 bits, by the multiplier's upper 16.
export function requantizeWide(x, m, s) {
  return shiftedProduct(x, reduced(m), 15 - s);
}

export function reduced(m) {
  return m < 0x7fff0000 ? Math.floor((m + 2 ** 15) / 65536) : 0x7fff;
}

const clamp = (value, { act_min: low, act_max: high }) => Math.min(Math.max(value, low), high);

// From accumulator to output: requantise, add the output's zero point, clamp.
function finish(acc, f, { multiplier, shift }, attrs) {
  const scale = attrs.wide ? requantizeWide : requantize;
  return clamp(scale(acc, multiplier.data[f], shift.data[f], attrs.rounding) + attrs.output_offset, attrs);
}

// acc = bias[f] + sum over ky, kx, c of (x + input_offset) * w;  taps outside the image add nothing
function convolve(depthwise, [x], arrays, attrs, [OH, OW, F]) {
  const { weights: w, bias } = arrays;
  const { stride, pads, dilation, input_offset: offset } = attrs;
  const [H, W, C] = x.shape;
  const [KH, KW, , M] = w.shape;
  const y = new Float32Array(OH * OW * F);
  const acc = new Float64Array(F);
  for (let p = 0; p < OH * OW; p++) {
    acc.set(bias.data);
    for (let tap = 0; tap < KH * KW; tap++) {
      const row = Math.floor(p / OW) * stride[0] + Math.floor(tap / KW) * dilation[0] - pads[0][0];
      const column = (p % OW) * stride[1] + (tap % KW) * dilation[1] - pads[1][0];
      if (row < 0 || row >= H || column < 0 || column >= W) continue;
      const from = (row * W + column) * C;
      if (depthwise) {
        for (let f = 0; f < F; f++) acc[f] += (x.data[from + Math.floor(f / M)] + offset) * w.data[tap * F + f];
      } else {
        for (let c = 0; c < C; c++) {
          const value = x.data[from + c] + offset;
          for (let f = 0; f < F; f++) acc[f] += value * w.data[(tap * C + c) * F + f];
        }
      }
    }
    for (let f = 0; f < F; f++) y[p * F + f] = finish(acc[f], f, arrays, attrs);
  }
  return y;
}

function pool(reduce, [x], arrays, attrs, [OH, OW, C]) {
  const W = x.shape[1];
  const y = new Float32Array(OH * OW * C);
  for (let p = 0; p < OH * OW; p++) {
    const covered = windowOf(Math.floor(p / OW), p % OW, x.shape, attrs);
    for (let c = 0; c < C; c++) {
      y[p * C + c] = clamp(reduce(covered.map(([row, column]) => x.data[(row * W + column) * C + c])), attrs);
    }
  }
  return y;
}

// The mean, half away from zero.
export function meanOf(values) {
  const total = values.reduce((sum, value) => sum + value, 0);
  return Math.sign(total) * Math.floor((Math.abs(total) + Math.floor(values.length / 2)) / values.length);
}

// a' = requantize((a + offset1) << left_shift, ...), b' likewise;  y = clamp(requantize(a' + b', ...) + output_offset)
function add([a, b], arrays, attrs) {
  return a.data.map((value, k) => {
    const sum = raised(value, 1, attrs) + raised(b.data[k], 2, attrs);
    return clamp(
      requantize(sum, attrs.output_multiplier, attrs.output_shift, attrs.rounding) + attrs.output_offset,
      attrs,
    );
  });
}

export function raised(value, which, attrs) {
  const lifted = (value + attrs[`input${which}_offset`]) * 2 ** attrs.left_shift;
  return requantize(lifted, attrs[`input${which}_multiplier`], attrs[`input${which}_shift`], attrs.rounding);
}

function rescale([x], arrays, attrs) {
  return x.data.map((value) =>
    clamp(
      requantize(value + attrs.input_offset, attrs.multiplier, attrs.shift, attrs.rounding) + attrs.output_offset,
      attrs,
    ),
  );
}

function leakyRelu([x], arrays, attrs) {
  return x.data.map((value) => {
    const centred = value + attrs.input_offset;
    const sign = centred >= 0 ? "positive" : "negative";
    return clamp(
      requantize(centred, attrs[`${sign}_multiplier`], attrs[`${sign}_shift`], attrs.rounding) + attrs.output_offset,
      attrs,
    );
  });
}

// An entry of 256, or a straight line between two of 513.
export function lookUp(value, entries) {
  if (entries.length === 256) return entries[value + 128];
  const at = 256 + Math.floor(value / 128);
  const share = value - Math.floor(value / 128) * 128;
  return entries[at] + Math.floor(((entries[at + 1] - entries[at]) * share + 64) / 128);
}

function table([x], { table: entries }) {
  return x.data.map((value) => lookUp(value, entries.data));
}

// S = sum x;  d = n x - S;  v = n sum x^2 - S^2 + epsilon;  h = d / sqrt(v) in fixed point;  y = requantise(h g + b)
function layerNorm([x], { gamma, beta }, attrs, [H, W, C]) {
  const n = BigInt(H * W);
  const y = new Float32Array(x.data.length);
  for (let c = 0; c < C; c++) {
    let [sum, squares] = [0n, 0n];
    for (let k = c; k < y.length; k += C) {
      const value = BigInt(x.data[k]);
      sum += value;
      squares += value * value;
    }
    const v = n * squares - sum * sum + BigInt(attrs.epsilon);
    const j = BigInt((62 - v.toString(2).length) >> 1);
    const r = 2n ** 61n / integerRoot(v << (2n * j));
    const down = 61n - j - BigInt(attrs.fraction_bits);
    for (let k = c, p = 0; k < y.length; k += C, p++) {
      const h = roundingShiftBig((n * BigInt(x.data[k]) - sum) * r, down);
      const acc = Number(h * BigInt(gamma.data[p]) + BigInt(beta.data[p]));
      y[k] = clamp(requantizeWide(acc, attrs.multiplier, attrs.shift) + attrs.output_offset, attrs);
    }
  }
  return y;
}

function integerRoot(v) {
  let root = BigInt(Math.floor(Math.sqrt(Number(v))));
  while (root * root > v) root -= 1n;
  while ((root + 1n) * (root + 1n) <= v) root += 1n;
  return root;
}

function roundingShiftBig(x, exponent) {
  const mask = (1n << exponent) - 1n;
  return (x >> exponent) + ((x & mask) > (mask >> 1n) + (x < 0n ? 1n : 0n) ? 1n : 0n);
}

const EXP_EIGHTH = 1895147668; // exp(-1/8) in Q0.31
const THIRD = 715827883;
const EXP_FACTORS = [1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242]; // exp(-2^k), k = -2 ... 4
const MOST = 2 ** 31 - 1;
const saturated = (x) => Math.min(Math.max(x, -(2 ** 31)), MOST);

// exp(a) for a <= 0 in Q5.26, in Q0.31: the fraction by its series, then one factor a bit of the rest
function expOnNegative(a) {
  if (a === 0) return MOST;
  const quarter = 2 ** 24;
  const fraction = (a & (quarter - 1)) - quarter;
  const x = fraction * 32 + 2 ** 28;
  const x2 = highMultiply(x, x);
  const x3 = highMultiply(x2, x);
  const x4 = highMultiply(x2, x2);
  const tail = roundingShift(highMultiply(roundingShift(x4, 2) + x3, THIRD) + x2, 1);
  let result = Math.min(EXP_EIGHTH + highMultiply(EXP_EIGHTH, x + tail), MOST);
  const rest = fraction - a;
  EXP_FACTORS.forEach((factor, k) => {
    if (Math.floor(rest / 2 ** (24 + k)) % 2 === 1) result = highMultiply(result, factor);
  });
  return result;
}

// 1 / (1 + a) for 0 <= a < 1 in Q0.31: three Newton steps
function oneOverOnePlus(a) {
  const half = Math.floor((a + 2 ** 31) / 2);
  let x = 1515870810 - highMultiply(half, 1010580540);
  for (let k = 0; k < 3; k++) x += saturated(highMultiply(x, 2 ** 29 - highMultiply(half, x)) * 4);
  return saturated(x * 2);
}

function softmax([x], arrays, { multiplier, left_shift: left, diff_min: least }, [H, W, K]) {
  const y = new Float32Array(x.data.length);
  for (let p = 0; p < H * W; p++) {
    const row = x.data.subarray(p * K, (p + 1) * K);
    const top = Math.max(...row);
    const powers = Array.from(row, (q) =>
      q - top < least ? null : expOnNegative(highMultiply((q - top) * 2 ** left, multiplier)),
    );
    const total = powers.reduce((sum, power) => sum + (power === null ? 0 : roundingShift(power, 12)), 0);
    const headroom = 32 - total.toString(2).length;
    const reciprocal = oneOverOnePlus(total * 2 ** headroom - 2 ** 31);
    powers.forEach((power, k) => {
      const q = power === null ? -128 : roundingShift(highMultiply(reciprocal, power), 12 - headroom + 23) - 128;
      y[p * K + k] = Math.min(Math.max(q, -128), 127);
    });
  }
  return y;
}

function softmax16([x], arrays, { multiplier, shift, rounding }, [H, W, K]) {
  const y = new Float32Array(x.data.length);
  const bounded = (value) => Math.min(Math.max(value, -32768), 32767);
  for (let p = 0; p < H * W; p++) {
    const row = x.data.subarray(p * K, (p + 1) * K);
    const top = Math.max(...row);
    const powers = Array.from(row, (q) =>
      lookUp(bounded(requantize(q - top, multiplier, shift, rounding) + 32767), arrays.exp_table.data),
    );
    const total = powers.reduce((sum, power) => sum + power, 0);
    const zeros = 32 - total.toString(2).length;
    const leading = Math.floor((total * 2 ** (zeros - 1) + 2 ** 13) / 2 ** 14);
    const r = lookUp(bounded(leading - 2 ** 15 - 2 ** 16), arrays.reciprocal_table.data);
    const right = 31 - zeros;
    powers.forEach((power, k) => {
      y[p * K + k] = Math.min(Math.max(Math.floor((power * r + 2 ** (right - 1)) / 2 ** right), 0), 32767);
    });
  }
  return y;
}

// What the operators are made of, for those who want to read them.
const SCALED = [finish, requantize, highMultiply, roundingShift, requantizeWide];
export const INTEGERS_MADE_OF = {
  conv2d: [convolve, ...SCALED],
  depthwise_conv2d: [convolve, ...SCALED],
  max_pool2d: [pool],
  avg_pool2d: [pool, meanOf],
  add: [add, raised, requantize, highMultiply, roundingShift],
  concat: [concat],
  upsample_nearest2d: [upsampleNearest2d],
  rescale: [rescale, requantize, highMultiply, roundingShift],
  leaky_relu: [leakyRelu, requantize, highMultiply, roundingShift],
  table: [table, lookUp],
  layer_norm: [layerNorm, integerRoot, roundingShiftBig, requantizeWide],
  softmax: [softmax, expOnNegative, oneOverOnePlus, highMultiply, roundingShift],
  softmax16: [softmax16, lookUp, requantize],
};

// An operator of named arrays as one of a list of weights: attrs.arrays says what each is called.
function withArrays(operator) {
  return (inputs, weights, attrs, shape) =>
    operator(inputs, Object.fromEntries(attrs.arrays.map((name, k) => [name, weights[k]])), attrs, shape);
}

const OF_ARRAYS = {
  conv2d: (...given) => convolve(false, ...given),
  depthwise_conv2d: (...given) => convolve(true, ...given),
  max_pool2d: (...given) => pool((values) => Math.max(...values), ...given),
  avg_pool2d: (...given) => pool(meanOf, ...given),
  add,
  concat,
  upsample_nearest2d: upsampleNearest2d,
  rescale,
  leaky_relu: leakyRelu,
  table,
  layer_norm: layerNorm,
  softmax,
  softmax16,
};

export const INTEGER_OPERATORS = Object.fromEntries(
  Object.entries(OF_ARRAYS).map(([name, operator]) => [name, withArrays(operator)]),
);
