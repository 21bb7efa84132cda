// A port of a golden bundle's network in JavaScript, written from the bundle's REFERENCE.md and manifest.json alone.
//
//   node golden_port.mjs BUNDLE [OUTPUTS]
//
// Runs every network and layer case, compares each tensor's CRC-32 with the manifest's and, where OUTPUTS is given,
// writes OUTPUTS/<case>/<key>.bin for `npunet verify BUNDLE OUTPUTS`. Exit status: 0 all equal, 1 something differs.
// Needs a bundle with the format "bin". Section numbers below are those of REFERENCE.md.
import fs from "node:fs";
import path from "node:path";

const [bundle, outputs] = process.argv.slice(2);
if (!bundle) {
  console.error("usage: node golden_port.mjs BUNDLE [OUTPUTS]");
  process.exit(2);
}
const manifest = JSON.parse(fs.readFileSync(path.join(bundle, "manifest.json"), "utf8"));
const layers = new Map(manifest.layers.map((layer) => [layer.id, layer]));
const tensors = new Map(manifest.tensors.map((tensor) => [tensor.id, tensor]));
const fl = Math.fround;

// Little-endian words, whatever the machine's own order is.
function floats(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, n) => view.getFloat32(4 * n, true));
}

function words(values) {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, n) => (Number.isNaN(value) ? bytes.writeUInt32LE(0x7fc00000, 4 * n)
                                                    : bytes.writeFloatLE(value, 4 * n)));
  return bytes;
}

const raw = fs.readFileSync(path.join(bundle, manifest.model.raw_weights));
const weights = new Map(manifest.weights.map((weight) =>
  [weight.id, { values: floats(raw.subarray(weight.offset, weight.offset + weight.bytes)), shape: weight.shape }]));

// --- arithmetic -----------------------------------------------------------------------------------------------------

const double = new Float64Array(1), halves = new BigInt64Array(double.buffer);

// fma in float32: the product is exact in a double; their sum is rounded to odd, so that the second rounding is right.
function fma(x, w, acc) {
  const product = x * w, sum = product + acc;
  if (!Number.isFinite(sum)) return fl(sum);
  const part = sum - product, error = (product - (sum - part)) + (acc - part);
  if (error === 0) return fl(sum);
  double[0] = sum;
  if ((halves[0] & 1n) === 0n) halves[0] += error > 0 === sum > 0 ? 1n : -1n;
  return fl(double[0]);
}

const multiplyAdd = manifest.profile.fma ? fma : (x, w, acc) => fl(acc + fl(x * w));

// --- section 2: the exponential -------------------------------------------------------------------------------------

const exponential = manifest.constants.exp;
const [LOG2E, LN2_HI, LN2_LO, LOWEST, HIGHEST] =
  ["log2e", "ln2_hi", "ln2_lo", "lowest", "highest"].map((name) => exponential[name].value);
const C = exponential.coefficients.map((constant) => constant.value);

function rint(x) {
  const down = Math.floor(x), rest = x - down;
  return rest < 0.5 ? down : rest > 0.5 ? down + 1 : down % 2 === 0 ? down : down + 1;
}

function reduce(x) {
  const n = rint(fl(x * LOG2E));
  const r = fl(fl(x - fl(n * LN2_HI)) - fl(n * LN2_LO));
  let q = C[C.length - 1];
  for (let k = C.length - 2; k >= 0; k--) q = fl(fl(q * r) + C[k]);
  return [n, fl(r + fl(fl(r * r) * q))];
}

const scale = (y, n) => fl(fl(y * 2 ** Math.floor(n / 2)) * 2 ** (n - Math.floor(n / 2)));

function exp(x) {
  if (Number.isNaN(x)) return NaN;
  if (x < LOWEST) return 0;
  if (x > HIGHEST) return Infinity;
  const [n, p] = reduce(x);
  return scale(fl(1 + p), n);
}

function expm1(x) {
  if (Number.isNaN(x)) return NaN;
  if (x < LOWEST) return -1;
  if (x > HIGHEST) return Infinity;
  const [n, p] = reduce(x);
  return n >= exponential.expm1_is_exp_from ? scale(fl(1 + p), n) : fl(scale(p, n) + fl(2 ** n - 1));
}

// --- section 3: the operators; each takes a layer and one sample's inputs, H W C ------------------------------------

function convolution(layer, x, kernel, { stride, dilation, pads, inShape, outShape, depthwise }) {
  const [H, W, inChannels] = inShape, [OH, OW, F] = outShape, [KH, KW] = kernel.shape;
  const w = kernel.values, perChannel = depthwise ? kernel.shape[3] : 0, y = new Float32Array(OH * OW * F);
  for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) for (let f = 0; f < F; f++) {
    let acc = 0;
    for (let ky = 0; ky < KH; ky++) {
      const row = i * stride[0] + ky * dilation[0] - pads.top;
      if (row < 0 || row >= H) continue;
      for (let kx = 0; kx < KW; kx++) {
        const column = j * stride[1] + kx * dilation[1] - pads.left;
        if (column < 0 || column >= W) continue;
        const at = (row * W + column) * inChannels, tap = ky * KW + kx;
        if (depthwise) acc = multiplyAdd(x[at + Math.floor(f / perChannel)], w[tap * F + f], acc);
        else for (let c = 0; c < inChannels; c++) acc = multiplyAdd(x[at + c], w[(tap * inChannels + c) * F + f], acc);
      }
    }
    y[(i * OW + j) * F + f] = acc;
  }
  return y;
}

const place = (layer) => ({ stride: layer.stride, dilation: layer.dilation, pads: layer.pads,
                            inShape: layer.input_shapes[0], outShape: layer.shape });
const each = (x, f) => x.map((value) => f(value));
const relu = (x) => (x > 0 || Number.isNaN(x) ? x : 0);

const operators = {
  conv2d: (layer, [x], [kernel]) => convolution(layer, x, kernel, place(layer)),
  depthwise_conv2d: (layer, [x], [kernel]) => convolution(layer, x, kernel, { ...place(layer), depthwise: true }),
  separable_conv2d: (layer, [x], [depthwise, pointwise]) => {
    const [, , channels, multiplier] = depthwise.shape, outShape = [layer.shape[0], layer.shape[1], channels * multiplier];
    const between = convolution(layer, x, depthwise, { ...place(layer), outShape, depthwise: true });
    return convolution(layer, between, pointwise, { stride: [1, 1], dilation: [1, 1], pads: { top: 0, left: 0 },
                                                    inShape: outShape, outShape: layer.shape });
  },
  batch_norm_inference: (layer, [x], [gamma, beta, mean, variance]) => {
    const eps = layer.constants.eps.value, channels = layer.shape[2];
    const s = gamma.values.map((g, c) => fl(g * fl(1 / fl(Math.sqrt(fl(variance.values[c] + eps))))));
    const t = beta.values.map((b, c) => fl(b - fl(mean.values[c] * s[c])));
    return x.map((value, n) => fl(fl(value * s[n % channels]) + t[n % channels]));
  },
  layer_norm: (layer, [x], [gamma, beta]) => {
    const eps = layer.constants.eps.value, channels = layer.shape[2], positions = layer.shape[0] * layer.shape[1];
    const y = new Float32Array(x.length);
    for (let c = 0; c < channels; c++) {
      let sum = 0, squares = 0;
      for (let p = 0; p < positions; p++) sum += x[p * channels + c];
      const mean = sum / positions;
      for (let p = 0; p < positions; p++) squares += (x[p * channels + c] - mean) * (x[p * channels + c] - mean);
      const m = fl(mean), inv = fl(1 / Math.sqrt(squares / positions + eps));
      for (let p = 0; p < positions; p++)
        y[p * channels + c] = fl(fl(fl(x[p * channels + c] - m) * fl(inv * gamma.values[p])) + beta.values[p]);
    }
    return y;
  },
  max_pool2d: (layer, [x]) => {
    const [H, W, channels] = layer.input_shapes[0], [OH, OW] = layer.shape, [KH, KW] = layer.kernel;
    const y = new Float32Array(OH * OW * channels);
    for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) for (let c = 0; c < channels; c++) {
      let best = -Infinity;
      for (let ky = 0; ky < KH; ky++) {
        const row = i * layer.stride[0] + ky - layer.pads.top;
        if (row < 0 || row >= H) continue;
        for (let kx = 0; kx < KW; kx++) {
          const column = j * layer.stride[1] + kx - layer.pads.left;
          if (column < 0 || column >= W) continue;
          const value = x[(row * W + column) * channels + c];
          if (value > best || Number.isNaN(value)) best = value;
        }
      }
      y[(i * OW + j) * channels + c] = best;
    }
    return y;
  },
  upsample_nearest2d: (layer, [x]) => {
    const [, W, channels] = layer.input_shapes[0], [OH, OW] = layer.shape, [fy, fx] = layer.factor;
    const y = new Float32Array(OH * OW * channels);
    for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) for (let c = 0; c < channels; c++)
      y[(i * OW + j) * channels + c] = x[(Math.floor(i / fy) * W + Math.floor(j / fx)) * channels + c];
    return y;
  },
  concat: (layer, inputs) => {
    const y = new Float32Array(layer.shape[0] * layer.shape[1] * layer.shape[2]), counts = layer.input_shapes.map((s) => s[2]);
    for (let p = 0, n = 0; p < layer.shape[0] * layer.shape[1]; p++)
      inputs.forEach((x, k) => { for (let c = 0; c < counts[k]; c++) y[n++] = x[p * counts[k] + c]; });
    return y;
  },
  add: (layer, [a, b]) => a.map((value, n) => fl(value + b[n])),
  dropout_inference: (layer, [x]) => x,
  relu: (layer, [x]) => each(x, relu),
  relu6: (layer, [x]) => each(x, (value) => (relu(value) > 6 ? 6 : relu(value))),
  leaky_relu: (layer, [x]) => each(x, (value) => (value > 0 ? value : fl(layer.constants.slope.value * value))),
  elu: (layer, [x]) => each(x, (value) => (value > 0 ? value : expm1(value))),
  selu: (layer, [x]) => {
    const { scale: above, scale_alpha: below } = layer.constants;
    return each(x, (value) => (value > 0 ? fl(above.value * value) : fl(below.value * expm1(value))));
  },
  softmax: (layer, [x]) => {
    const channels = layer.shape[2], y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += channels) {
      let largest = x[start], sum = 0;
      for (let c = 1; c < channels; c++)
        if (x[start + c] > largest || Number.isNaN(x[start + c])) largest = x[start + c];
      for (let c = 0; c < channels; c++) {
        y[start + c] = exp(fl(x[start + c] - largest));
        sum = fl(sum + y[start + c]);
      }
      for (let c = 0; c < channels; c++) y[start + c] = fl(y[start + c] / sum);
    }
    return y;
  },
};

// One layer on one sample: its accumulator (null where there is no bias) and its output.
function runLayer(layer, inputs) {
  const parameters = layer.weights.map((id) => weights.get(id));
  const last = parameters[parameters.length - 1];
  const bias = layer.operator.includes("conv2d") && last.shape.length === 1 ? last.values : null;
  const acc = operators[layer.operator](layer, inputs, parameters);
  if (!bias) return { acc: null, out: acc };
  return { acc, out: acc.map((value, n) => fl(value + bias[n % bias.length])) };
}

// --- sections 5 and 6: cases, and the judgement ---------------------------------------------------------------------

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}

const read = (id) => floats(fs.readFileSync(path.join(bundle, tensors.get(id).files.bin)));
const size = (shape) => shape.reduce((product, extent) => product * extent, 1);
let compared = 0;
const wrong = [];

function judge(caseId, key, samples) {
  const bytes = words(samples.flatMap((values) => Array.from(values)));
  if (outputs) {
    fs.mkdirSync(path.join(outputs, caseId), { recursive: true });
    fs.writeFileSync(path.join(outputs, caseId, `${key}.bin`), bytes);
  }
  compared++;
  if (crc32(bytes) !== tensors.get(`${caseId}/${key}`).crc32) wrong.push(`${caseId}/${key}`);
}

function cut(id, shape) {
  const values = read(id), step = size(shape);
  return Array.from({ length: values.length / step }, (_, n) => values.subarray(n * step, (n + 1) * step));
}

for (const { id, scope } of manifest.cases) {
  if (scope === "network") {
    const made = new Map([["in", cut(`${id}/in`, manifest.model.input_shape)]]);
    judge(id, "in", made.get("in"));
    for (const layer of manifest.layers) {
      const runs = made.get("in").map((_, n) => runLayer(layer, layer.inputs.map((name) => made.get(name)[n])));
      made.set(layer.id, runs.map((run) => run.out));
      if (runs[0].acc) judge(id, `${layer.id}.acc`, runs.map((run) => run.acc));
      judge(id, `${layer.id}.out`, made.get(layer.id));
    }
  } else if (scope === "layer") {
    const layer = layers.get(id), inputs = layer.inputs.map((_, k) => cut(`${id}/${id}.in${k}`, layer.input_shapes[k]));
    const runs = inputs[0].map((_, n) => runLayer(layer, inputs.map((samples) => samples[n])));
    if (runs[0].acc) judge(id, `${id}.acc`, runs.map((run) => run.acc));
    judge(id, `${id}.out`, runs.map((run) => run.out));
  }
}

console.log(`${compared} tensors of ${manifest.cases.length} cases compared, ${wrong.length} differ`);
if (wrong.length) console.log(`first: ${wrong[0]}`);
console.log(`VERDICT ${wrong.length ? "FAIL" : "PASS"}`);
process.exit(wrong.length ? 1 : 0);
