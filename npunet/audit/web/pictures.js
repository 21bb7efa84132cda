// Pictures of tensors on canvases: signals as lines, maps and weights as images.

export const CLASS_COLOURS = ["#8a8a8a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6fb0"];
const NEGATIVE = [0, 114, 178];
const POSITIVE = [213, 94, 0];

const SHADES = 255; // on either side of zero
const isDark = matchMedia("(prefers-color-scheme: dark)");
const isPrint = matchMedia("print");
const known = new Map(); // the colours by what they depend on: asking for a style makes the browser lay the page out

// The page's colours as they are now: light, dark or in print.
export function theme() {
  const key = `${isDark.matches} ${isPrint.matches}`;
  if (!known.has(key)) known.set(key, readTheme());
  return known.get(key);
}

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = { paper: "picture", ink: "ink", line: "line", faint: "faint", mark: "mark", changed: "changed" };
  const colours = Object.entries(names).map(([key, name]) => [key, style.getPropertyValue(`--${name}`).trim()]);
  const found = Object.fromEntries(colours);
  return { ...found, shades: shadesOf(found) };
}

function rgb(hex) {
  return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
}

// Colours as pixels of an image: red, green, blue and opaque in one word.
function pixels(colours) {
  const words = new Uint32Array(colours.length);
  const bytes = new Uint8ClampedArray(words.buffer);
  colours.forEach((colour, k) => bytes.set([...colour, 255], 4 * k));
  return words;
}

// From the most negative over zero, which has the colour of the paper, to the most positive; then NaN, that of the ink.
function shadesOf({ paper, ink }) {
  const zero = rgb(paper);
  const shades = Array.from({ length: 2 * SHADES + 1 }, (_, k) => {
    const full = k < SHADES ? NEGATIVE : POSITIVE;
    const share = Math.abs(k - SHADES) / SHADES;
    return zero.map((part, channel) => part + (full[channel] - part) * share);
  });
  return pixels([...shades, rgb(ink)]);
}

export function rangeOf(values, first = 0, step = 1) {
  let low = Infinity;
  let high = -Infinity;
  for (let k = first; k < values.length; k += step) {
    if (values[k] < low) low = values[k];
    if (values[k] > high) high = values[k];
  }
  return low <= high ? [low, high] : [0, 0];
}

// Room around a range, so that a constant line is not at the edge.
export function widened([low, high]) {
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - room, high + room];
}

// One channel of a signal as a line; before is drawn faintly under it; marked is a position.
export function drawSignal(canvas, { data, channels, channel, range, before, marked }) {
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  const colours = theme();
  const length = data.length / channels;
  const x = (p) => ((p + 0.5) / length) * width;
  const y = (value) => height - ((value - range[0]) / (range[1] - range[0])) * height;
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, width, height);
  if (range[0] < 0 && range[1] > 0) {
    pen.fillStyle = colours.faint;
    pen.fillRect(0, y(0), width, 1);
  }
  const trace = (values, colour, thickness) => {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (let p = 0; p < length; p++) pen.lineTo(x(p), y(values[p * channels + channel]));
    pen.stroke();
  };
  if (before) trace(before, colours.faint, 2);
  trace(data, before && differs(data, before, channels, channel) ? colours.changed : colours.line, 1.6);
  if (marked !== null && marked !== undefined) {
    pen.fillStyle = colours.mark;
    pen.beginPath();
    pen.arc(x(marked), y(data[marked * channels + channel]), 4, 0, 7);
    pen.fill();
  }
}

function differs(data, before, channels, channel) {
  for (let k = channel; k < data.length; k += channels) if (!Object.is(data[k], before[k])) return true;
  return false;
}

// The colour of a number: `largest` is the magnitude that has the full colour.
function shader(largest) {
  const { shades } = theme();
  const scale = SHADES / (largest || 1);
  return (value) => {
    if (Number.isNaN(value)) return shades[2 * SHADES + 1];
    return shades[SHADES + Math.round(Math.max(-SHADES, Math.min(SHADES, value * scale)))];
  };
}

// Squares of `cell` pixels, each of the colour that pixel(row, column) names; 0 for none.
function drawCells(canvas, rows, columns, cell, pixel) {
  canvas.width = columns * cell;
  canvas.height = rows * cell;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row++) {
    const first = row * cell * canvas.width;
    for (let column = 0; column < columns; column++) {
      const word = pixel(row, column);
      for (let u = 0; u < cell; u++) words[first + column * cell + u] = word;
    }
    for (let v = 1; v < cell; v++) words.copyWithin(first + v * canvas.width, first, first + canvas.width);
  }
  pen.putImageData(image, 0, 0);
  return pen;
}

const cellOf = (size, H, W) => Math.max(1, Math.floor(size / Math.max(H, W)));

// One channel of a map; marked is [row, column]; about `size` pixels wide.
export function drawMap(canvas, { data, shape: [H, W, C], channel, marked, largest, size }) {
  const cell = cellOf(size, H, W);
  const shade = shader(largest);
  const pen = drawCells(canvas, H, W, cell, (row, column) => shade(data[(row * W + column) * C + channel]));
  if (marked) {
    pen.strokeStyle = theme().mark;
    pen.lineWidth = 2;
    pen.strokeRect(marked[1] * cell - 1, marked[0] * cell - 1, cell + 2, cell + 2);
  }
}

// A frame around rows and columns [first, last] of a map that fills the canvas.
export function drawFrame(canvas, [H, W], [rows, columns]) {
  const pen = canvas.getContext("2d");
  const [height, width] = [canvas.height / H, canvas.width / W];
  pen.strokeStyle = theme().mark;
  pen.lineWidth = 2;
  pen.setLineDash([6, 4]);
  const size = [(columns[1] + 1 - columns[0]) * width - 2, (rows[1] + 1 - rows[0]) * height - 2];
  pen.strokeRect(columns[0] * width + 1, rows[0] * height + 1, ...size);
  pen.setLineDash([]);
}

// The likeliest class of each position of a map.
export function drawClasses(canvas, labels, [H, W], size) {
  const colours = pixels(CLASS_COLOURS.map(rgb));
  drawCells(canvas, H, W, cellOf(size, H, W), (row, column) => colours[labels[row * W + column] % colours.length]);
}

// How a weight array is laid out as an image: tiles of its first two axes, one row of tiles an input channel.
export function tilesOf(shape, most = 64) {
  const [KH, KW, C, F] = shape.length === 4 ? shape : [1, 1, ...(shape.length === 2 ? shape : [1, ...shape])];
  const shown = [Math.min(C, most), Math.min(F, most)];
  const gap = KH * KW > 1 ? 1 : 0;
  return { KH, KW, C, F, shown, gap, rows: shown[0] * (KH + gap), columns: shown[1] * (KW + gap) };
}

// Which weight lies at a cell of that image, or -1 for a gap.
export function weightAtCell({ KH, KW, C, F, gap }, row, column) {
  const [c, ky] = [Math.floor(row / (KH + gap)), row % (KH + gap)];
  const [f, kx] = [Math.floor(column / (KW + gap)), column % (KW + gap)];
  return ky < KH && kx < KW ? ((ky * KW + kx) * C + c) * F + f : -1;
}

export function drawWeights(canvas, { data, shape }, marked) {
  const tiles = tilesOf(shape);
  const cell = Math.max(2, Math.min(16, Math.floor(600 / tiles.columns), Math.floor(480 / tiles.rows)));
  const [low, high] = rangeOf(data);
  const shade = shader(Math.max(-low, high));
  const pen = drawCells(canvas, tiles.rows, tiles.columns, cell, (row, column) => {
    const at = weightAtCell(tiles, row, column);
    return at < 0 ? 0 : shade(data[at]);
  });
  if (marked !== null && marked !== undefined) {
    for (let row = 0; row < tiles.rows; row++) {
      for (let column = 0; column < tiles.columns; column++) {
        if (weightAtCell(tiles, row, column) !== marked) continue;
        pen.strokeStyle = theme().mark;
        pen.lineWidth = 2;
        pen.strokeRect(column * cell, row * cell, cell, cell);
      }
    }
  }
  return { tiles, cell };
}

// Which pixel of a canvas an event is at, in canvas pixels.
export function pixelOf(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientY - box.top) / box.height) * canvas.height,
    ((event.clientX - box.left) / box.width) * canvas.width,
  ];
}
