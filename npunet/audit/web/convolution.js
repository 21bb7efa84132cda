// Convolutions. Every output starts from +0 and takes its products in one order: for ky, for kx, for c; bias last.
// Positions in the padding count as 0, as in the definition.
//
// Every operator: (inputs, weights, attrs, shape, arithmetic) -> Float32Array of the output, (H, W, C) row-major.
// A tensor is { data: Float32Array, shape: [...] }; attrs are those of the Python operator of the same name.

import { fma32 } from "./fma.js";

// y[i, j, f] = b[f] + sum over ky, kx, c of x[i*sy + ky*dy - top, j*sx + kx*dx - left, c] * w[ky, kx, c, f]
export function conv2d([x], [w, b], attrs, shape, arithmetic) {
  return convolve(arithmetic === "seq_fma" ? addFused : addSeparate, x, w, b, attrs, shape);
}

// y[i, j, c*M + m] = b[c*M + m] + sum over ky, kx of x[i*sy + ky*dy - top, j*sx + kx*dx - left, c] * w[ky, kx, c, m]
export function depthwiseConv2d([x], [w, b], attrs, shape, arithmetic) {
  return convolve(arithmetic === "seq_fma" ? addFusedOfEach : addSeparateOfEach, x, w, b, attrs, shape);
}

// Position after position, tap after tap: add(acc, x, from, w, tap, ...) adds what one tap gives to the outputs there.
function convolve(add, x, w, b, { stride, pads, dilation }, [OH, OW, outputs]) {
  const [H, W, C] = x.shape;
  const [KH, KW, , F] = w.shape;
  const y = new Float32Array(OH * OW * outputs);
  const acc = new Float32Array(outputs);
  const padding = new Float32Array(C);
  for (let i = 0; i < OH; i++) {
    for (let j = 0; j < OW; j++) {
      acc.fill(0);
      for (let ky = 0; ky < KH; ky++) {
        for (let kx = 0; kx < KW; kx++) {
          const row = i * stride[0] + ky * dilation[0] - pads[0][0];
          const column = j * stride[1] + kx * dilation[1] - pads[1][0];
          const inside = row >= 0 && row < H && column >= 0 && column < W;
          const from = inside ? (row * W + column) * C : 0;
          add(acc, inside ? x.data : padding, from, w.data, (ky * KW + kx) * C * F, C, F);
        }
      }
      const at = (i * OW + j) * outputs;
      for (let f = 0; f < outputs; f++) y[at + f] = b ? acc[f] + b.data[f] : acc[f];
    }
  }
  return y;
}

// acc[f] = fl(acc[f] + fl(x[c] * w[c, f])), c after c
function addSeparate(acc, x, from, w, tap, C, F) {
  for (let c = 0; c < C; c++) {
    const value = x[from + c];
    const at = tap + c * F;
    for (let f = 0; f < F; f++) acc[f] = Math.fround(acc[f] + Math.fround(value * w[at + f]));
  }
}

// acc[f] = fl(acc[f] + x[c] * w[c, f]), c after c
function addFused(acc, x, from, w, tap, C, F) {
  for (let c = 0; c < C; c++) {
    const value = x[from + c];
    const at = tap + c * F;
    for (let f = 0; f < F; f++) acc[f] = fma32(value, w[at + f], acc[f]);
  }
}

// acc[c*M + m] = fl(acc[c*M + m] + fl(x[c] * w[c, m]))
function addSeparateOfEach(acc, x, from, w, tap, C, M) {
  for (let m = 0; m < M; m++) {
    for (let c = 0, f = m; c < C; c++, f += M) acc[f] = Math.fround(acc[f] + Math.fround(x[from + c] * w[tap + f]));
  }
}

// acc[c*M + m] = fl(acc[c*M + m] + x[c] * w[c, m])
function addFusedOfEach(acc, x, from, w, tap, C, M) {
  for (let m = 0; m < M; m++) {
    for (let c = 0, f = m; c < C; c++, f += M) acc[f] = fma32(x[from + c], w[tap + f], acc[f]);
  }
}

// Every channel on its own, then a 1x1 convolution that mixes them; nothing lies between.
export function separableConv2d([x], [depthwise, pointwise, b], attrs, shape, arithmetic) {
  const middle = halfway(depthwise, shape);
  const between = { data: depthwiseConv2d([x], [depthwise], attrs, middle, arithmetic), shape: middle };
  return conv2d([between], [pointwise, b], ONE_BY_ONE, shape, arithmetic);
}

// What the convolutions are made of, for those who want to read them.
export const MADE_OF = {
  conv2d: [conv2d, convolve, addSeparate, addFused],
  depthwise_conv2d: [depthwiseConv2d, convolve, addSeparateOfEach, addFusedOfEach],
  separable_conv2d: [separableConv2d, depthwiseConv2d, conv2d, convolve, addSeparateOfEach, addSeparate],
};

export const ONE_BY_ONE = {
  stride: [1, 1],
  pads: [
    [0, 0],
    [0, 0],
  ],
  dilation: [1, 1],
};

// The shape between the two halves of a separable convolution.
export function halfway(depthwise, [OH, OW]) {
  return [OH, OW, depthwise.shape[2] * depthwise.shape[3]];
}
