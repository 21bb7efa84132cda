// What the page holds: the description as JSON, weights and input as base64 float32.

export function readPage() {
  const description = JSON.parse(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(atob(document.getElementById("numbers").textContent), (sign) => sign.charCodeAt(0));
  const tensors = new Map();
  let first = 0;
  for (const { name, shape } of description.weights) {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { data: new Float32Array(bytes.buffer, 4 * first, size), shape });
    first += size;
  }
  return { description, tensors };
}
