// Losses of classes, each with its gradient for the network's output, by the formulas of npunet/ops/losses.py.
//
// (output tensor { data, shape }, labels: one class a position, whether the output holds probabilities)
// -> { loss, dy }, in float64, the mean over positions.

const CLIP = 1e-7; // the reference clips probabilities there
const ALPHA = 0.25; // of the focal loss, as are
const GAMMA = 2;
const clip = (p) => Math.min(1 - CLIP, Math.max(CLIP, p));
const isClipped = (p) => p < CLIP || p > 1 - CLIP;

function softmax(x) {
  const top = Math.max(...x);
  const powers = x.map((score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

// dx = y (dy - sum(dy y))
function throughSoftmax(y, dy) {
  const sum = y.reduce((total, value, k) => total + value * dy[k], 0);
  return y.map((value, k) => value * (dy[k] - sum));
}

// loss = mean of log(sum of exp(z)) - z[label];  dz = (softmax(z) - [k is the label]) / positions.
// For probabilities z = log(clip(x)), and dx = dz / x, 0 where x is clipped.
export function crossEntropy({ data, shape: [H, W, K] }, labels, isProbability) {
  const dy = new Float64Array(data.length);
  let loss = 0;
  for (let p = 0; p < H * W; p++) {
    const x = data.subarray(p * K, (p + 1) * K);
    const z = isProbability ? x.map((value) => Math.log(clip(value))) : x;
    const top = Math.max(...z);
    const sum = z.reduce((total, score) => total + Math.exp(score - top), 0);
    loss += Math.log(sum) - (z[labels[p]] - top);
    for (let k = 0; k < K; k++) {
      const dz = (Math.exp(z[k] - top) / sum - (k === labels[p] ? 1 : 0)) / (H * W);
      dy[p * K + k] = !isProbability ? dz : isClipped(x[k]) ? 0 : dz / x[k];
    }
  }
  return { loss: loss / (H * W), dy };
}

// loss = mean of alpha (1 - p)^gamma * -log(p), p = clip(y[label] / sum(y));
// dp = alpha (gamma (1 - p)^(gamma - 1) log(p) - (1 - p)^gamma / p) / positions;  dy = dp ([label] - share) / sum(y)
export function focal({ data, shape: [H, W, K] }, labels, isProbability) {
  const gradient = new Float64Array(data.length);
  let loss = 0;
  for (let at = 0; at < H * W; at++) {
    const x = data.subarray(at * K, (at + 1) * K);
    const y = isProbability ? x : softmax(x);
    const total = y.reduce((a, b) => a + b, 0);
    const share = y[labels[at]] / total;
    const p = clip(share);
    loss -= ALPHA * (1 - p) ** GAMMA * Math.log(p);
    const slope = GAMMA * (1 - p) ** (GAMMA - 1) * Math.log(p) - (1 - p) ** GAMMA / p;
    const dp = isClipped(share) ? 0 : (ALPHA * slope) / (H * W);
    const dy = y.map((_, k) => (dp / total) * ((k === labels[at] ? 1 : 0) - share));
    gradient.set(isProbability ? dy : throughSoftmax(y, dy), at * K);
  }
  return { loss: loss / (H * W), dy: gradient };
}

// loss = 1 - 2 sum(t y) / (sum(t) + sum(y) + 1e-7) over all positions and classes, t the labels one-hot;
// dy = 2 (overlap / sizes - t) / sizes
export function dice({ data, shape: [H, W, K] }, labels, isProbability) {
  const rows = Array.from({ length: H * W }, (_, at) => {
    const x = data.subarray(at * K, (at + 1) * K);
    return isProbability ? x : softmax(x);
  });
  let [overlap, sizes] = [0, H * W + CLIP];
  rows.forEach((y, at) => {
    overlap += y[labels[at]];
    sizes += y.reduce((a, b) => a + b, 0);
  });
  const gradient = new Float64Array(data.length);
  rows.forEach((y, at) => {
    const dy = y.map((_, k) => (2 * (overlap / sizes - (k === labels[at] ? 1 : 0))) / sizes);
    gradient.set(isProbability ? dy : throughSoftmax(y, dy), at * K);
  });
  return { loss: 1 - (2 * overlap) / sizes, dy: gradient };
}

// By the names that npunet's Python has for them.
export const LOSSES = {
  sparse_categorical_crossentropy: crossEntropy,
  categorical_focal: focal,
  dice,
};
