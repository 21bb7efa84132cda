// One weight array as an image; one of its values can be chosen and changed.

import { flat, unflat } from "./apart.js";
import { button, make, numberField, rebuild } from "./dom.js";
import { briefly, exactly } from "./format.js";
import { drawWeights, pixelOf, rangeOf, theme, weightAtCell } from "./pictures.js";

export class WeightView {
  // chosen: weight name -> flat index of the chosen value, kept while layers come and go
  constructor(name, app, chosen) {
    this.name = name;
    this.app = app;
    this.chosen = chosen;
    this.canvas = make("canvas", { className: "weights" });
    this.fields = make("div", { className: "controls" });
    this.told = make("p", { className: "small" });
    this.root = make("div", { className: "weight" }, make("h4", {}, name), this.told, this.canvas, this.fields);
    this.canvas.addEventListener("click", (event) => {
      const { tiles, cell } = this.layout;
      const [y, x] = pixelOf(this.canvas, event);
      const at = weightAtCell(tiles, Math.floor(y / cell), Math.floor(x / cell));
      if (at >= 0) this.choose(at);
    });
  }

  choose(at) {
    this.chosen.set(this.name, at);
    this.refresh();
  }

  refresh() {
    const { app } = this;
    const tensor = app.network.weights.get(this.name);
    const at = this.chosen.get(this.name) ?? 0;
    const key = [tensor.data, at, theme()];
    if (this.drawn?.every((part, k) => part === key[k])) return;
    this.drawn = key;
    this.layout = drawWeights(this.canvas, tensor, at);
    const { tiles } = this.layout;
    const [low, high] = rangeOf(tensor.data);
    const cut = tiles.shown[0] < tiles.C || tiles.shown[1] < tiles.F;
    this.told.textContent =
      `${tensor.shape.join(" × ")}${axes(tensor.shape)}; range ${briefly(low)} to ${briefly(high)}` +
      (cut ? `; shown: the first ${tiles.shown.join(" × ")} of ${tiles.C} × ${tiles.F} channels` : "");
    if (!app.description.sampled) this.showFields(tensor, at);
  }

  showFields(tensor, at) {
    const { app, name } = this;
    const index = unflat(tensor.shape, at);
    const names = axisNames(tensor.shape);
    const value = make("input", {
      type: "number",
      step: "any",
      value: exactly(tensor.data[at]),
      className: "wide",
      "aria-label": "value of the weight",
      onchange: () => app.editWeight(name, at, Number(value.value)),
    });
    const fields = tensor.shape.map((size, axis) =>
      numberField(names[axis], index[axis], 0, size - 1, (position) =>
        this.choose(flat(tensor.shape, index.with(axis, position))),
      ),
    );
    rebuild(
      this.fields,
      ...fields,
      make("label", { className: "field" }, "= ", value),
      button("set to 0", () => app.editWeight(name, at, 0)),
      button("reset", () => app.editWeight(name, at, app.original.weights.get(name).data[at])),
    );
  }
}

function axisNames(shape) {
  return (
    { 4: ["ky", "kx", "c", "f"], 2: ["row", "column"], 1: ["channel"] }[shape.length] ??
    shape.map((_, k) => `axis ${k}`)
  );
}

function axes(shape) {
  return shape.length === 4 ? " (ky, kx, c, f): one tile an input channel c (down) and filter f (across)" : "";
}
