// The fused multiply-add of float32, rounded once: fl(a * b + c), the bits of C's fmaf.
//
// The product of two float32 is exact in float64. Its sum with c is not, and rounding that sum again to float32 can
// go wrong where it is a tie. So the sum is rounded to odd first: of the two float64 around it, the one whose last bit
// is 1. After that one rounding to float32 gives what the exact sum would have given, subnormals included.
// Source: Boldo & Melquiond 2008, Emulation of a FMA and correctly rounded sums, IEEE Trans. Computers 57(4).

const wide = new Float64Array(1);
const words = new Uint32Array(wide.buffer); // words[low] holds the last bits, words[1 - low] the first
wide[0] = 1;
const low = words[0] === 0 ? 0 : 1;

export function fma32(a, b, c) {
  const p = a * b; // exact
  const s = p + c;
  const v = s - p;
  const t = p - (s - v) + (c - v); // TwoSum (Knuth): p + c = s + t without error
  if (t === 0 || Number.isNaN(t)) return Math.fround(s); // exact, or infinite
  wide[0] = s;
  if ((words[low] & 1) === 0) {
    // s is even, and p + c lies off it on the side of t: the odd neighbour is one step that way
    if (t > 0 === s > 0) {
      words[low] += 1;
    } else {
      if (words[low] === 0) words[1 - low] -= 1;
      words[low] -= 1;
    }
  }
  return Math.fround(wide[0]);
}

// acc + x * w in the declared arithmetic: "seq" rounds the product and the sum, "seq_fma" the whole once.
export function accumulate(acc, x, w, arithmetic) {
  if (arithmetic === "seq_fma") return fma32(x, w, acc);
  return Math.fround(acc + Math.fround(x * w));
}
