// What the page holds: the description as JSON, weights and input as base64 float32 (float64 where wide).

export function readPage() {
  const description = JSON.parse(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(atob(document.getElementById("numbers").textContent), (sign) => sign.charCodeAt(0));
  const tensors = new Map();
  let first = 0;
  for (const { name, shape, wide } of description.weights) {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new (wide ? Float64Array : Float32Array)(bytes.buffer, first, size);
    tensors.set(name, { data, shape });
    first += data.byteLength;
  }
  return { description, tensors };
}
