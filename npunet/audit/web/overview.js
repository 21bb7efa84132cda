// Input and result side by side: drag a sample of a signal or a pixel of an image, and see what becomes of it.

import { button, make, numberField, rebuild } from "./dom.js";
import { briefly, counted } from "./format.js";
import { largestDifference } from "./network.js";
import { reachText } from "./reach.js";
import { CLASS_COLOURS, drawClasses, drawFrame, drawMap, pixelOf, rangeOf, theme, widened } from "./pictures.js";

const SIZE = 360;

export class Overview {
  // app: { network, description, editInput(flat index, value), resetInput(), pick(layer, index) }
  constructor(root, app) {
    this.app = app;
    const { shape } = app.network.tensors.get(app.network.input);
    this.shape = shape;
    this.isSignal = shape[0] === 1;
    this.at = [Math.floor(shape[0] / 2), Math.floor(shape[1] / 2), 0];
    this.canvas = make("canvas", { className: "input", tabIndex: 0, role: "img" });
    this.result = this.isSignal ? null : make("canvas", { className: "result" });
    this.told = make("p", { className: "told" });
    this.effect = make("p", { className: "was", role: "status" });
    this.fields = make("div", { className: "controls" });
    this.legend = make("p", { className: "legend" });
    root.classList.toggle("signal", this.isSignal);
    root.append(
      make("h2", {}, "Input and result"),
      make("div", { className: "pair" }, this.canvas, this.result),
      this.legend,
      this.effect,
      this.fields,
      this.told,
    );
    this.canvas.setAttribute(
      "aria-label",
      "The network's input; arrow keys left and right choose a sample, up and down change it",
    );
    if (!app.description.sampled) this.listen();
    this.refresh();
  }

  flatAt([i, j, c] = this.at) {
    return (i * this.shape[1] + j) * this.shape[2] + c;
  }

  listen() {
    let last = null;
    addEventListener("resize", () => {
      this.isFitted = false;
    });
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = this.placeOf(event);
      this.drag(last, last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const now = this.placeOf(event);
      this.drag(last, now);
      last = now;
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => {
        last = null;
      });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // A signal is drawn freely; a pixel of an image changes as the pointer moves up and down.
  drag(from, to) {
    if (!this.isSignal) {
      if (from === to) this.choose([from.row, from.column, this.at[2]]);
      else this.change(this.value() + ((from.y - to.y) * this.span()) / 200);
      return;
    }
    const steps = Math.max(1, Math.abs(to.column - from.column));
    for (let step = from === to ? steps : 1; step <= steps; step++) {
      const share = step / steps;
      this.at = [0, Math.round(from.column + (to.column - from.column) * share), this.at[2]];
      this.change(from.value + (to.value - from.value) * share);
    }
    this.choose(this.at);
  }

  placeOf(event) {
    const [y, x] = pixelOf(this.canvas, event);
    const [H, W] = this.shape;
    const inside = (position, size) => Math.max(0, Math.min(size - 1, Math.floor(position)));
    if (!this.isSignal) {
      const cell = this.canvas.width / W;
      return { row: inside(y / cell, H), column: inside(x / cell, W), y: event.clientY };
    }
    const [low, high] = this.range();
    return { column: inside((x / this.canvas.width) * W, W), value: high - (y / this.canvas.height) * (high - low) };
  }

  // While a signal is being drawn its range stays, so that the picture does not move under the pointer.
  range() {
    this.held ??= widened(rangeOf(this.app.originalInput()));
    return this.held;
  }

  span() {
    const [low, high] = this.range();
    return high - low;
  }

  value() {
    return this.app.network.tensors.get(this.app.network.input).data[this.flatAt()];
  }

  change(value) {
    this.app.editInput(this.flatAt(), value);
  }

  choose(at) {
    this.at = at;
    this.app.pick(this.app.network.input, at);
  }

  key(event) {
    const [i, j, c] = this.at;
    const [H, W] = this.shape;
    const step = this.span() / 50;
    const bounded = (position, size) => Math.max(0, Math.min(size - 1, position));
    if (event.key === "ArrowLeft") this.choose([i, bounded(j - 1, W), c]);
    else if (event.key === "ArrowRight") this.choose([i, bounded(j + 1, W), c]);
    else if (event.key === "ArrowUp") this.change(this.value() + step);
    else if (event.key === "ArrowDown") this.change(this.value() - step);
    else if (event.key === "PageUp") this.choose([bounded(i - 1, H), j, c]);
    else if (event.key === "PageDown") this.choose([bounded(i + 1, H), j, c]);
    else return;
    event.preventDefault();
  }

  newInput() {
    this.held = null;
  }

  refresh() {
    const { app } = this;
    const output = app.network.tensors.get(app.description.output);
    const labels = output && output.shape[2] > 1 ? likeliest(output) : null;
    if (this.isSignal) this.drawSignals(labels, output?.shape);
    else this.drawImages(labels, output);
    if (!app.description.sampled) this.showFields();
    this.showLegend(labels);
    this.effect.textContent = output && app.isEdited() ? this.effectText(output, labels) : "";
  }

  // What the changes have done to the network's output.
  effectText(output, labels) {
    const before = this.app.original.tensors.get(this.app.description.output);
    if (!before) return "";
    const most = largestDifference(output.data, before.data);
    if (most === 0) return "The changes have not touched the output.";
    const was = labels && likeliest(before);
    const moved = was ? labels.reduce((count, label, p) => count + (label === was[p] ? 0 : 1), 0) : 0;
    return (
      `The changes move the output by up to ${briefly(most)}` +
      (was ? `, and the likeliest class at ${counted(moved)} of ${counted(was.length)} positions.` : ".")
    );
  }

  drawSignals(labels, outputShape) {
    const {
      canvas,
      app,
      shape: [, W, C],
    } = this;
    if (!this.isFitted) {
      this.isFitted = true; // asking for the width makes the browser lay the page out
      canvas.width = Math.max(300, Math.round(canvas.clientWidth * devicePixelRatio));
      canvas.height = Math.round(180 * devicePixelRatio);
    }
    const pen = canvas.getContext("2d");
    const colours = theme();
    const [low, high] = this.range();
    const { data } = app.network.tensors.get(app.network.input);
    const before = app.isEdited() ? app.originalInput() : null;
    const y = (value) => canvas.height - ((value - low) / (high - low)) * canvas.height;
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (labels) {
      const step = canvas.width / outputShape[1];
      for (const [first, last] of runsOf(labels)) {
        if (labels[first] === 0) continue;
        pen.fillStyle = `${CLASS_COLOURS[labels[first] % CLASS_COLOURS.length]}44`;
        pen.fillRect(first * step, 0, (last + 1 - first) * step, canvas.height);
      }
    }
    for (const [values, colour] of [
      [before, colours.faint],
      [data, colours.line],
    ]) {
      for (let c = 0; values && c < C; c++) {
        pen.strokeStyle = colour;
        pen.globalAlpha = c === this.at[2] ? 1 : 0.45;
        pen.lineWidth = 1.6 * devicePixelRatio;
        pen.beginPath();
        for (let p = 0; p < W; p++) pen.lineTo(((p + 0.5) / W) * canvas.width, y(values[p * C + c]));
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colours.mark;
    const [, columns] = app.window() ?? [];
    if (columns) {
      const [first, last] = [columns[0] / W, (columns[1] + 1) / W].map((share) => share * canvas.width);
      pen.fillRect(first, canvas.height - 4 * devicePixelRatio, last - first, 4 * devicePixelRatio);
    }
    pen.beginPath();
    pen.arc(((this.at[1] + 0.5) / W) * canvas.width, y(this.value()), 5 * devicePixelRatio, 0, 7);
    pen.fill();
  }

  drawImages(labels, output) {
    const { data, shape } = this.app.network.tensors.get(this.app.network.input);
    const [low, high] = rangeOf(data);
    const marked = this.at.slice(0, 2);
    drawMap(this.canvas, { data, shape, channel: this.at[2], marked, largest: Math.max(-low, high), size: SIZE });
    const window = this.app.window();
    if (window) drawFrame(this.canvas, shape, window);
    if (labels) drawClasses(this.result, labels, output.shape, SIZE);
    else if (output) {
      const [least, most] = rangeOf(output.data);
      drawMap(this.result, { ...output, channel: 0, largest: Math.max(-least, most), size: SIZE });
    }
  }

  showFields() {
    const how = this.isSignal ? "Drag to draw the signal anew" : "Press on a pixel and drag up or down to change it";
    this.told.textContent =
      `${this.app.description.told ? `Shown on ${this.app.description.told}. ` : ""}${how}; everything after ` +
      `it is computed again. Range ${rangeOf(this.app.originalInput()).map(briefly).join(" to ")}. ${this.windowText()}`;
    if (this.fieldsAt !== this.at) this.buildFields();
    this.valueField.value = Number(this.value().toPrecision(6));
  }

  buildFields() {
    this.fieldsAt = this.at;
    const {
      app,
      shape: [H, W, C],
      at: [i, j, c],
    } = this;
    const value = make("input", {
      type: "number",
      step: "any",
      className: "wide",
      onchange: () => this.change(Number(value.value)),
    });
    rebuild(
      this.fields,
      ...(H > 1 ? [numberField("row", i, 0, H - 1, (row) => this.choose([row, j, c]))] : []),
      numberField(H > 1 ? "column" : "sample", j, 0, W - 1, (column) => this.choose([i, column, c])),
      ...(C > 1 ? [numberField("channel", c, 0, C - 1, (channel) => this.choose([i, j, channel]))] : []),
      make("label", { className: "field" }, "value ", value),
      button("reset input", () => app.resetInput()),
    );
    this.valueField = value;
  }

  // Which part of it the number that is looked at depends on.
  windowText() {
    const window = this.app.window();
    const { layer, index } = this.app.state;
    if (!window || layer === this.app.network.input) return "";
    return `${layer}[${index.join(", ")}] depends on ${reachText(window, this.shape)} of the input, ${this.isSignal ? "underlined" : "framed"}.`;
  }

  showLegend(labels) {
    const names = this.app.description.classNames;
    const { shape } = this.app.network.tensors.get(this.app.description.output) ?? { shape: [0, 0, 0] };
    if (!labels || this.legend.firstChild) return;
    const items = Array.from({ length: Math.min(shape[2], 12) }, (_, k) =>
      make(
        "span",
        { className: "class" },
        make("i", { style: `background:${CLASS_COLOURS[k % CLASS_COLOURS.length]}` }),
        `${names[k] ?? `class ${k}`}${this.isSignal && k === 0 ? " (not shaded)" : ""}`,
      ),
    );
    this.legend.replaceChildren("Likeliest class: ", ...items);
  }
}

// Where equal labels stand side by side: [first, last] of each run.
function runsOf(labels) {
  const starts = [...labels.keys()].filter((p) => p === 0 || labels[p] !== labels[p - 1]);
  return starts.map((first, k) => [first, (starts[k + 1] ?? labels.length) - 1]);
}

// The class with the largest score at each position, the first of equal ones.
export function likeliest({ data, shape: [H, W, K] }) {
  return Uint16Array.from({ length: H * W }, (_, p) => {
    let best = 0;
    for (let k = 1; k < K; k++) if (data[p * K + k] > data[p * K + best]) best = k;
    return best;
  });
}
