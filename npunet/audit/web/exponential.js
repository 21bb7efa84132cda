// exp and expm1 of float32, defined to the last bit (npunet/ops/exponential.py): one float32 operation after another,
// never fused, because the exp of a browser or of a C library is not the same everywhere.
//
//     n = rint(fl(x * LOG2E));  r = fl(fl(x - fl(n * LN2_HI)) - fl(n * LN2_LO));  p = fl(r + fl(fl(r * r) * q(r)))
//     exp(x) = fl(1 + p) * 2^n;   expm1(x) = fl(fl(p * 2^n) + fl(2^n - 1)) for n < 25, exp(x) from there on

import { fl } from "./float32.js";

const LOG2E = 0x1715476 / 2 ** 24; // 0x1.715476p+0
const LN2_HI = 0x163 / 2 ** 9; // 0x1.63p-1, nine bits: n * LN2_HI is exact
const LN2_LO = -0x1bd0106 / 2 ** 37; // -0x1.bd0106p-13
const COEFFICIENTS = [
  0.5, // 0x1p-1
  0x1555554 / 2 ** 27, // 0x1.555554p-3
  0x15554f8 / 2 ** 29, // 0x1.5554f8p-5
  0x11112d4 / 2 ** 31, // 0x1.1112d4p-7
  0x16d3a6 / 2 ** 30, // 0x1.6d3a6p-10
  0x19e7c7c / 2 ** 37, // 0x1.9e7c7cp-13
];
const LOWEST = -0x15d589e / 2 ** 18; // -0x1.5d589ep+6: exp of anything below is exactly 0
const HIGHEST = 0x162e42e / 2 ** 18; // 0x1.62e42ep+6: exp of anything above is infinite
const ROUNDER = 1.5 * 2 ** 23; // adding and subtracting it rounds a small float32 to a whole number, ties to even

export function exp32(x) {
  if (!(x >= LOWEST && x <= HIGHEST)) return outside(x, 0);
  const [n, p] = reduce(x);
  return scale(fl(1 + p), n);
}

export function expm132(x) {
  if (!(x >= LOWEST && x <= HIGHEST)) return outside(x, -1);
  const [n, p] = reduce(x);
  return n < 25 ? fl(scale(p, n) + fl(scale(1, n) - 1)) : scale(fl(1 + p), n);
}

// n, and p = expm1(x - n ln 2)
function reduce(x) {
  const n = fl(fl(fl(x * LOG2E) + ROUNDER) - ROUNDER);
  const r = fl(fl(x - fl(n * LN2_HI)) - fl(n * LN2_LO));
  let q = COEFFICIENTS[5];
  for (let k = 4; k >= 0; k--) q = fl(fl(q * r) + COEFFICIENTS[k]);
  return [n, fl(r + fl(fl(r * r) * q))];
}

function outside(x, below) {
  if (x < LOWEST) return below;
  return x > HIGHEST ? Infinity : x; // x is NaN
}

// y * 2^n in two steps, both factors normal
function scale(y, n) {
  const half = Math.floor(n / 2);
  return fl(fl(y * 2 ** half) * 2 ** (n - half));
}
