// What the page holds: the description as JSON, weights and input as base64 float32 (float64 where wide).

export function readPage() {
  const description = JSON.parse(document.getElementById("data").textContent);
  const text = atob(document.getElementById("numbers").textContent);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
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
