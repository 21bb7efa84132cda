// Batch norm by stored statistics, and layer norm over height and width.

import { fl } from "./float32.js";

// inv = fl(gamma * fl(1 / fl(sqrt(fl(var + eps)))));  shift = fl(beta - fl(mean * inv)), for one channel
export function scaleShift([gamma, beta, mean, variance], eps, c) {
  const inv = fl(gamma.data[c] * fl(1 / fl(Math.sqrt(fl(variance.data[c] + fl(eps))))));
  return [inv, fl(beta.data[c] - fl(mean.data[c] * inv))];
}

// y = fl(fl(x * inv) + shift)
export function batchNormInference([x], weights, { eps }, [H, W, C]) {
  const y = new Float32Array(H * W * C);
  const channels = Array.from({ length: C }, (_, c) => scaleShift(weights, eps, c));
  const [invs, shifts] = [0, 1].map((k) => Float32Array.from(channels, (pair) => pair[k]));
  for (let k = 0, c = 0; k < y.length; k++, c = c + 1 < C ? c + 1 : 0) y[k] = fl(x.data[k] * invs[c]) + shifts[c];
  return y;
}

// fl(mean) and fl(1 / sqrt(var + eps)) of one channel: both sums in float64, position after position
export function layerStatistics(x, eps, c) {
  const [H, W, C] = x.shape;
  const n = H * W;
  let sum = 0;
  for (let p = 0; p < n; p++) sum += x.data[p * C + c];
  const mean = sum / n;
  let squares = 0;
  for (let p = 0; p < n; p++) squares += (x.data[p * C + c] - mean) * (x.data[p * C + c] - mean);
  return [fl(mean), fl(1 / Math.sqrt(squares / n + eps))];
}

// scale = fl(inv * gamma);  y = fl(fl(fl(x - fl(mean)) * scale) + beta); gamma and beta have one value a position
export function layerNorm([x], [gamma, beta], { eps }, [H, W, C]) {
  const y = new Float32Array(H * W * C);
  for (let c = 0; c < C; c++) {
    const [mean, inv] = layerStatistics(x, eps, c);
    for (let p = 0; p < H * W; p++) {
      const scale = fl(inv * gamma.data[p]);
      y[p * C + c] = fl(fl(fl(x.data[p * C + c] - mean) * scale) + beta.data[p]);
    }
  }
  return y;
}
