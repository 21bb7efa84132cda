// A port of an integer bundle's network in JavaScript, written from the bundle's README.txt and manifest.json alone.
//
//   node golden_port_integer.mjs BUNDLE [OUTPUTS]
//
// Runs every network and layer case, compares each tensor's CRC-32 with the manifest's and, where OUTPUTS is given,
// writes OUTPUTS/<case>/<key>.bin for `npunet verify BUNDLE OUTPUTS`. Exit status: 0 all equal, 1 something differs.
// Needs a bundle with the format "bin". Integers of up to 64 bits are BigInt where they may leave 53 bits.
import fs from "node:fs";
import path from "node:path";

const [bundle, outputs] = process.argv.slice(2);
if (!bundle) {
  console.error("usage: node golden_port_integer.mjs BUNDLE [OUTPUTS]");
  process.exit(2);
}
const manifest = JSON.parse(fs.readFileSync(path.join(bundle, "manifest.json"), "utf8"));
const layers = new Map(manifest.layers.map((layer) => [layer.id, layer]));
const tensors = new Map(manifest.tensors.map((tensor) => [tensor.id, tensor]));
const BYTES = { int8: 1, int16: 2, int32: 4, int64: 8 };

// Little-endian two's complement, whatever the machine's own order is; int64 as BigInt.
function integers(bytes, dtype) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), size = BYTES[dtype];
  const read = { int8: (n) => view.getInt8(n), int16: (n) => view.getInt16(2 * n, true),
                 int32: (n) => view.getInt32(4 * n, true), int64: (n) => view.getBigInt64(8 * n, true) }[dtype];
  return Array.from({ length: bytes.byteLength / size }, (_, n) => read(n));
}

function words(values, dtype) {
  const size = BYTES[dtype], bytes = Buffer.alloc(size * values.length);
  values.forEach((value, n) => (size === 8 ? bytes.writeBigInt64LE(BigInt(value), 8 * n)
                                           : bytes.writeIntLE(Number(value), size * n, size)));
  return bytes;
}

const raw = fs.readFileSync(path.join(bundle, manifest.model.raw_weights));
const arrayOf = ({ offset, bytes, dtype }) => integers(raw.subarray(offset, offset + bytes), dtype);
const weights = new Map(manifest.layers.map((layer) => [layer.id,
  Object.fromEntries(Object.entries(layer.arrays).map(([name, record]) => [name, arrayOf(record)]))]));

// --- arithmetic: README.txt, "Arithmetic" ----------------------------------------------------------------------------

const power = (n) => 1n << BigInt(n);
const doublingHigh = (a, b) => (a * b + power(30)) >> 31n;

function roundingShift(x, exponent) {
  const mask = power(exponent) - 1n;
  return (x >> BigInt(exponent)) + ((x & mask) > (mask >> 1n) + (x < 0n ? 1n : 0n) ? 1n : 0n);
}

const profiles = {
  D: (x, m, s) => roundingShift(doublingHigh(x << BigInt(Math.max(s, 0)), BigInt(m)), Math.max(-s, 0)),
  S: (x, m, s) => (x * BigInt(m) + power(30 - s)) >> BigInt(31 - s),
};
const requantize = profiles[manifest.profile.requant];
const requantize64 = (x, m, s) =>
  (x * BigInt(m < 0x7fff0000 ? (m + 0x8000) >> 16 : 0x7fff) + power(14 - s)) >> BigInt(15 - s);
const clamp = (x, low, high) => (x < low ? low : x > high ? high : x);
const clampOf = ({ act_min: low, act_max: high }) => (pre) => pre.map((x) => Number(clamp(x, BigInt(low), BigInt(high))));

// --- the operators; each takes a layer and one sample's inputs, H W C, and returns {acc, pre, out} where there are ----

function* taps({ shape: [OH, OW], input_shapes: [[H, W]] }, [KH, KW], { stride: [sy, sx], pads, dilation: [dy, dx] = [1, 1] }) {
  const [[top], [left]] = pads;
  for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) {
    const inside = [];
    for (let ky = 0; ky < KH; ky++) for (let kx = 0; kx < KW; kx++) {
      const row = i * sy + ky * dy - top, column = j * sx + kx * dx - left;
      if (row >= 0 && row < H && column >= 0 && column < W) inside.push([row * W + column, ky * KW + kx]);
    }
    yield inside;
  }
}

function convolution(layer, [x], { weights: w, bias, multiplier, shift }, depthwise) {
  const a = layer.attributes, C = layer.input_shapes[0][2], F = layer.shape[2], each = F / C, acc = [], pre = [];
  const scaled = layer.requantisation === "64" ? requantize64 : requantize;
  for (const inside of taps(layer, layer.kernel, a)) for (let f = 0; f < F; f++) {
    let sum = 0; // below 2^53: 2^47 is the largest accumulator
    for (const [at, tap] of inside)
      if (depthwise) sum += (x[at * C + Math.floor(f / each)] + a.input_offset) * w[tap * F + f];
      else for (let c = 0; c < C; c++) sum += (x[at * C + c] + a.input_offset) * w[(tap * C + c) * F + f];
    const whole = BigInt(sum) + BigInt(bias[f]);
    acc.push(whole);
    pre.push(scaled(whole, multiplier[f], shift[f]) + BigInt(a.output_offset));
  }
  return { acc, pre, out: clampOf(a)(pre) };
}

function pool(layer, [x], reduce) {
  const a = layer.attributes, C = layer.shape[2], pre = [];
  for (const inside of taps(layer, a.window, a)) for (let c = 0; c < C; c++)
    pre.push(BigInt(reduce(inside.map(([at]) => x[at * C + c]))));
  return { pre, out: clampOf(a)(pre) };
}

const mean = (values) => {
  const total = values.reduce((sum, value) => sum + value, 0), half = Math.floor(values.length / 2);
  return Math.trunc((total > 0 ? total + half : total - half) / values.length) + 0;
};
const lookUp = (table, x) => {
  const i = 256 + (x >> 7);
  return table[i] + (((table[i + 1] - table[i]) * (x & 127) + 64) >> 7);
};
const bitLength = (x) => x.toString(2).length;
const elementwise = (layer, pre) => ({ pre, out: clampOf(layer.attributes)(pre) });

function squareRoot(v) {
  let root = 0n;
  for (let bit = 30n; bit >= 0n; bit--) if ((root + (1n << bit)) ** 2n <= v) root += 1n << bit;
  return root;
}

// --- softmax of 8 bits, step by step as in c/net.c --------------------------------------------------------------------

const FACTORS = [1672461947n, 1302514674n, 790015084n, 290630308n, 39332535n, 720401n, 242n];
const INT32_MAX = 2147483647n;
const saturatingShift = (x, exponent) => clamp(x << BigInt(exponent), -INT32_MAX - 1n, INT32_MAX);

function expOnNegative(a) {
  if (a === 0n) return INT32_MAX;
  const quarter = 1n << 24n, fraction = (a & (quarter - 1n)) - quarter, rest = fraction - a;
  const x = fraction * 32n + (1n << 28n), x2 = doublingHigh(x, x), x3 = doublingHigh(x2, x), x4 = doublingHigh(x2, x2);
  const tail = roundingShift(doublingHigh(roundingShift(x4, 2) + x3, 715827883n) + x2, 1);
  let result = 1895147668n + doublingHigh(1895147668n, x + tail);
  if (result > INT32_MAX) result = INT32_MAX;
  FACTORS.forEach((factor, k) => { if (rest & (1n << BigInt(24 + k))) result = doublingHigh(result, factor); });
  return result;
}

function oneOverOnePlus(a) {
  const half = (a + (1n << 31n)) >> 1n;
  let x = 1515870810n - doublingHigh(half, 1010580540n);
  for (let k = 0; k < 3; k++) x += saturatingShift(doublingHigh(x, (1n << 29n) - doublingHigh(half, x)), 2);
  return saturatingShift(x, 1);
}

const rows = (x, C) => Array.from({ length: x.length / C }, (_, n) => x.slice(n * C, (n + 1) * C));

const operators = {
  conv2d: (layer, inputs, arrays) => convolution(layer, inputs, arrays, false),
  depthwise_conv2d: (layer, inputs, arrays) => convolution(layer, inputs, arrays, true),
  max_pool2d: (layer, inputs) => pool(layer, inputs, (values) => Math.max(...values)),
  avg_pool2d: (layer, inputs) => pool(layer, inputs, mean),
  upsample_nearest2d: (layer, [x]) => {
    const [, W, C] = layer.input_shapes[0], [OH, OW] = layer.shape, [fy, fx] = layer.factor, out = [];
    for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) for (let c = 0; c < C; c++)
      out.push(x[(Math.floor(i / fy) * W + Math.floor(j / fx)) * C + c]);
    return { out };
  },
  concat: (layer, inputs) => {
    const counts = layer.input_shapes.map((shape) => shape[2]), out = [];
    for (let p = 0; p < layer.shape[0] * layer.shape[1]; p++)
      inputs.forEach((x, k) => out.push(...x.slice(p * counts[k], (p + 1) * counts[k])));
    return { out };
  },
  add: (layer, inputs) => {
    const a = layer.attributes, scaled = inputs.map((x, k) => x.map((value) =>
      requantize(BigInt(value + a[`input${k + 1}_offset`]) << BigInt(a.left_shift), a[`input${k + 1}_multiplier`],
                 a[`input${k + 1}_shift`])));
    const acc = scaled[0].map((value, n) => value + scaled[1][n]);
    const pre = acc.map((sum) => requantize(sum, a.output_multiplier, a.output_shift) + BigInt(a.output_offset));
    return { acc, pre, out: clampOf(a)(pre) };
  },
  rescale: (layer, [x]) => {
    const a = layer.attributes;
    return elementwise(layer, x.map((value) =>
      requantize(BigInt(value + a.input_offset), a.multiplier, a.shift) + BigInt(a.output_offset)));
  },
  leaky_relu: (layer, [x]) => {
    const a = layer.attributes;
    return elementwise(layer, x.map((value) => {
      const c = value + a.input_offset, sign = c >= 0 ? "positive" : "negative";
      return requantize(BigInt(c), a[`${sign}_multiplier`], a[`${sign}_shift`]) + BigInt(a.output_offset);
    }));
  },
  table: (layer, [x], { table }) => ({ out: x.map((value) => (table.length === 256 ? table[value + 128]
                                                                                  : lookUp(table, value))) }),
  layer_norm: (layer, [x], { gamma, beta }) => {
    const a = layer.attributes, [H, W, C] = layer.shape, n = H * W, pre = new Array(x.length);
    for (let c = 0; c < C; c++) {
      let total = 0n, squares = 0n;
      for (let k = 0; k < n; k++) {
        total += BigInt(x[k * C + c]);
        squares += BigInt(x[k * C + c]) ** 2n;
      }
      const v = BigInt(n) * squares - total * total + BigInt(a.epsilon), j = (62 - bitLength(v)) >> 1;
      const r = (1n << 61n) / squareRoot(v << BigInt(2 * j));
      for (let k = 0; k < n; k++) {
        const d = BigInt(n * x[k * C + c]) - total, h = roundingShift(d * r, 61 - j - a.fraction_bits);
        pre[k * C + c] = requantize64(h * BigInt(gamma[k]) + beta[k], a.multiplier, a.shift) + BigInt(a.output_offset);
      }
    }
    return elementwise(layer, pre);
  },
  softmax: (layer, [x]) => {
    const { multiplier, left_shift: left, diff_min: least } = layer.attributes;
    return { out: rows(x, layer.shape[2]).flatMap((row) => {
      const most = Math.max(...row), e = row.map((value) => (value - most < least ? null
        : expOnNegative(doublingHigh(BigInt(value - most) << BigInt(left), BigInt(multiplier)))));
      const total = e.reduce((sum, value) => (value === null ? sum : sum + roundingShift(value, 12)), 0n);
      const headroom = 32 - bitLength(total), reciprocal = oneOverOnePlus((total << BigInt(headroom)) - (1n << 31n));
      return e.map((value) => (value === null ? -128
        : Number(clamp(roundingShift(doublingHigh(reciprocal, value), 35 - headroom) - 128n, -128n, 127n))));
    }) };
  },
  softmax16: (layer, [x], { exp_table: powers, reciprocal_table: reciprocals }) => {
    const { multiplier, shift } = layer.attributes;
    return { out: rows(x, layer.shape[2]).flatMap((row) => {
      const most = Math.max(...row), e = row.map((value) =>
        lookUp(powers, clamp(Number(requantize(BigInt(value - most), multiplier, shift)) + 32767, -32768, 32767)));
      const total = e.reduce((sum, value) => sum + value, 0), zeros = 32 - bitLength(total), right = 31 - zeros;
      const leading = Number((BigInt(total) * power(zeros - 1) + power(13)) >> 14n);
      const r = lookUp(reciprocals, clamp(leading - 98304, -32768, 32767));
      return e.map((value) => Number(clamp((BigInt(value) * BigInt(r) + power(right - 1)) >> BigInt(right), 0n, 32767n)));
    }) };
  },
};

// --- cases, and the judgement ----------------------------------------------------------------------------------------

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}

let compared = 0;
const wrong = [];

function judge(caseId, key, samples) {
  const record = tensors.get(`${caseId}/${key}`), bytes = words(samples.flat(), record.dtype);
  if (outputs) {
    fs.mkdirSync(path.join(outputs, caseId), { recursive: true });
    fs.writeFileSync(path.join(outputs, caseId, `${key}.bin`), bytes);
  }
  compared++;
  if (crc32(bytes) !== record.crc32) wrong.push(`${caseId}/${key}`);
}

function samplesOf(id) {
  const { shape: [N], dtype, files } = tensors.get(id);
  const values = integers(fs.readFileSync(path.join(bundle, files.bin)), dtype), step = values.length / N;
  return Array.from({ length: N }, (_, n) => values.slice(n * step, (n + 1) * step));
}

function run(caseId, layer, inputs) {
  const made = inputs[0].map((_, n) => operators[layer.operator](layer, inputs.map((samples) => samples[n]),
                                                                 weights.get(layer.id)));
  for (const role of ["acc", "pre", "out"])
    if (tensors.has(`${caseId}/${layer.id}.${role}`)) judge(caseId, `${layer.id}.${role}`, made.map((one) => one[role]));
  return made.map((one) => one.out);
}

for (const { id, scope } of manifest.cases) {
  if (scope === "network") {
    const made = new Map([["in", samplesOf(`${id}/in`)]]);
    for (const layer of manifest.layers) made.set(layer.id, run(id, layer, layer.inputs.map((name) => made.get(name))));
  } else run(id, layers.get(id), layers.get(id).inputs.map((_, k) => samplesOf(`${id}/${id}.in${k}`)));
}

console.log(`${compared} tensors of ${manifest.cases.length} cases compared, ${wrong.length} differ`);
if (wrong.length) console.log(`first: ${wrong[0]}`);
console.log(`VERDICT ${wrong.length ? "FAIL" : "PASS"}`);
process.exit(wrong.length ? 1 : 0);
