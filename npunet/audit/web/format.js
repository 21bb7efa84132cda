// Numbers as text.

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

// The 32 bits of a float32, as 8 hexadecimal digits.
export function bitsOf(x) {
  scratch[0] = x;
  return scratchBits[0].toString(16).padStart(8, "0");
}

// A float32 exactly, as C writes it: -0x1.8p+3.
export function hexFloat(x) {
  if (Number.isNaN(x)) return "nan";
  scratch[0] = x;
  const bits = scratchBits[0];
  const sign = bits >>> 31 ? "-" : "";
  const exponent = (bits >>> 23) & 255;
  const digits = ((bits & 0x7fffff) << 1).toString(16).padStart(6, "0").replace(/0+$/, "");
  if (exponent === 255) return `${sign}inf`;
  if (exponent === 0 && digits === "") return `${sign}0x0p+0`;
  const power = exponent === 0 ? -126 : exponent - 127;
  return `${sign}0x${exponent === 0 ? 0 : 1}${digits && `.${digits}`}p${power < 0 ? "" : "+"}${power}`;
}

// Nine digits tell every float32 from its neighbours.
export function exactly(x) {
  if (Object.is(x, -0)) return "-0";
  return Number.isInteger(x) && Math.abs(x) < 1e15 ? String(x) : String(Number(x.toPrecision(9)));
}

// Four digits, for reading.
export function briefly(x) {
  if (!Number.isFinite(x) || (Number.isInteger(x) && Math.abs(x) < 1e7)) return String(x);
  const size = Math.abs(x);
  return size < 1e-3 || size >= 1e5 ? x.toExponential(2) : String(Number(x.toPrecision(4)));
}

// A whole number with separators.
export function counted(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function percent(share) {
  return `${(100 * share).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`;
}
