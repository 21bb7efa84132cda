// The panel of one layer: what it computes, what it costs, its weights, its output on the input, what to change in it.

import { button, details, facts, make, numberField } from "./dom.js";
import { briefly, counted, exactly, percent } from "./format.js";
import { formulaOf } from "./formulas.js";
import { OPERATORS } from "./network.js";
import { flat, unflat } from "./apart.js";
import { drawMap, drawSignal, drawWeights, pixelOf, rangeOf, weightAtCell, widened } from "./pictures.js";

const SHOWN = 24; // channels that are drawn before somebody asks for all

export class LayerPanel {
  // app: see main.js
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.wanted = SHOWN;
    this.open = new Set(["output", "weights"]);
    this.weightAt = new Map(); // weight name -> chosen flat index
  }

  show(name) {
    const { app } = this;
    this.name = name;
    this.shownOperator = null;
    this.wanted = SHOWN;
    const node = app.network.byName.get(name);
    this.root.replaceChildren(this.heading(name), ...(node ? this.body(node) : [this.inputBody()]));
    this.refresh();
  }

  heading(name) {
    const { app } = this;
    const names = app.layerNames();
    const at = names.indexOf(name);
    const choose = make("select", {
      "aria-label": "layer", onchange: () => app.select(choose.value),
    }, names.map((each) => make("option", { value: each, selected: each === name }, each)));
    return make("div", { className: "heading" }, make("h2", {}, name),
      make("div", { className: "controls" },
        button("◀", () => app.select(names[at - 1]), { disabled: at === 0, "aria-label": "previous layer" }), choose,
        button("▶", () => app.select(names[at + 1]), { disabled: at === names.length - 1, "aria-label": "next layer" })));
  }

  inputBody() {
    this.outputs = make("div", { className: "grid" });
    this.stats = make("p", { className: "stats" });
    this.weightViews = [];
    return make("div", {}, make("p", {}, `The network's input, ${shapeText(this.tensor().shape)}.`), this.stats, this.outputs);
  }

  tensor() {
    return this.app.network.tensors.get(this.name);
  }

  body(node) {
    const { app } = this;
    const { description } = app;
    this.outputs = make("div", { className: "grid" });
    this.stats = make("p", { className: "stats" });
    this.formula = make("div", { className: "formula" });
    this.weightViews = [];
    const total = description.nodes.reduce((sum, each) => sum + each.macs, 0);
    return [
      make("p", { className: "does" }, description.says[node.op]),
      this.formula,
      this.changes(node),
      facts([
        ["operator", node.op],
        ["reads", node.inputs.flatMap((name, k) => [...(k ? [", "] : []), this.link(name)])],
        ["read by", this.readers(node.name)],
        ["output", `${shapeText(node.shape)} = ${counted(node.shape.reduce((a, b) => a * b))} values`],
        ["settings", settings(node)],
        ["parameters", node.weights.length ? `${counted(node.parameters)}  (${node.weights.map((name, k) =>
          `${name.split("/").pop()} ${node.weightShapes[k].join("×")}`).join(", ")})` : "none"],
        ["costs", node.macs ? `${counted(node.macs)} multiply-accumulates (MACs), ${percent(node.macs / total)} of the `
          + `network's; ${counted(2 * node.macs)} FLOPs` : "no multiply-accumulates"],
        ["memory", `output ${counted(4 * node.shape.reduce((a, b) => a * b))} bytes, weights `
          + `${counted(4 * node.parameters)} bytes (float32)`],
        node.sees && ["receptive field", node.sees],
      ]),
      this.section("output", "Output on this input", this.stats, this.outputs),
      node.weights.length ? this.section("weights", "Weights", node.weights.map((name) => this.weightView(name))) : null,
      this.gradient = make("div", {}),
      node.oddities.length ? this.section("oddities", "Where the reference is odd", node.oddities.map((k) =>
        oddityText(description.oddities[k]))) : null,
      this.section("source", "Source of the operator", make("pre", {}, description.sources[node.op]),
        make("h4", {}, "The same in this page's JavaScript"),
        make("pre", {}, OPERATORS[node.op].toString())),
    ].filter(Boolean);
  }

  section(key, title, ...children) {
    const section = details(title, this.open.has(key), ...children);
    section.addEventListener("toggle", () => {
      if (section.open) this.open.add(key);
      else this.open.delete(key);
    });
    return section;
  }

  link(name) {
    return button(name, () => this.app.select(name), { className: "link" });
  }

  readers(name) {
    const readers = this.app.network.readers.get(name);
    return readers.length ? readers.flatMap((node, k) => [...(k ? [", "] : []), this.link(node.name)])
      : "nobody: it is the network's output";
  }

  // What can be switched in a layer.
  changes(node) {
    const { app } = this;
    if (app.description.sampled) return null;
    const now = app.network.changes.get(node.name) ?? {};
    const set = (change) => app.change(node.name, Object.values(change).some((value) => value !== undefined) ? change : null);
    const check = (label, on, change) => {
      const box = make("input", { type: "checkbox", checked: on, onchange: () => change(box.checked) });
      return make("label", { className: "field" }, box, ` ${label}`);
    };
    if (node.op === "concat" || node.op === "add") {
      return make("div", { className: "controls change" }, node.inputs.map((name, k) =>
        check(`use ${name}${k ? (node.op === "concat" ? " (the skip)" : " (the residual)") : ""}`, now.zeroed !== k,
          (on) => set({ zeroed: on ? undefined : k }))));
    }
    if (node.op === "max_pool2d") {
      return make("div", { className: "controls change" }, check("average instead of maximum", now.op === "avg_pool2d",
        (on) => set({ op: on ? "avg_pool2d" : undefined })));
    }
    if (node.op === "upsample_nearest2d") {
      const most = Math.max(...node.attrs.factor) - 1;
      return make("div", { className: "controls change" }, numberField("repeat from phase", now.phase ?? 0, 0, most,
        (phase) => set({ phase: phase || undefined })), "0 is the network's; others shift which sample is repeated");
    }
    return null;
  }

  weightView(name) {
    const { app } = this;
    const canvas = make("canvas", { className: "weights" });
    const told = make("div", { className: "controls" });
    const view = { name, canvas, told, layout: null };
    canvas.addEventListener("click", (event) => {
      const [y, x] = pixelOf(canvas, event);
      const at = weightAtCell(view.layout.tiles, Math.floor(y / view.layout.cell), Math.floor(x / view.layout.cell));
      if (at >= 0) this.chooseWeight(name, at);
    });
    this.weightViews.push(view);
    const { shape, data } = app.network.weights.get(name);
    const [low, high] = rangeOf(data);
    return make("div", { className: "weight" }, make("h4", {}, name),
      make("p", { className: "small" }, `${shape.join(" × ")}${axes(shape)}; range ${briefly(low)} to ${briefly(high)}`), canvas, told);
  }

  chooseWeight(name, at) {
    this.weightAt.set(name, at);
    this.open.add("weights");
    this.refresh();
  }

  refreshWeight(view) {
    const tensor = this.app.network.weights.get(view.name);
    const at = this.weightAt.get(view.name) ?? 0;
    const key = `${at} ${this.app.edits} ${getComputedStyle(document.body).color}`;
    if (view.drawn === key) return;
    view.drawn = key;
    view.layout = drawWeights(view.canvas, tensor, at);
    const { tiles } = view.layout;
    if (view.told.contains(document.activeElement)) return;
    if (this.app.description.sampled) return;
    const index = unflat(tensor.shape, at);
    const field = make("input", {
      type: "number", step: "any", value: exactly(tensor.data[at]), className: "wide", "aria-label": "value of the weight",
      onchange: () => this.app.editWeight(view.name, at, Number(field.value)),
    });
    const fields = tensor.shape.map((size, axis) => numberField(axisNames(tensor.shape)[axis], index[axis], 0, size - 1,
      (position) => this.chooseWeight(view.name, flat(tensor.shape, index.with(axis, position)))));
    const cut = tiles.shown[0] < tiles.C || tiles.shown[1] < tiles.F
      ? make("span", { className: "small" }, `shown: the first ${tiles.shown.join(" × ")} of ${tiles.C} × ${tiles.F} channels`) : null;
    view.told.replaceChildren(...fields, make("label", { className: "field" }, "= ", field),
      button("set to 0", () => this.app.editWeight(view.name, at, 0)),
      button("reset", () => this.app.editWeight(view.name, at, this.app.original.weights.get(view.name).data[at])),
      ...(cut ? [cut] : []));
  }

  // Draw again what depends on numbers.
  refresh() {
    const { app } = this;
    const tensor = this.tensor();
    const node = app.network.byName.get(this.name);
    if (!tensor) return; // not computed yet
    if (node && this.shownOperator !== this.name + app.network.operatorOf(node)) {
      this.shownOperator = this.name + app.network.operatorOf(node);
      const weights = node.weightShapes.map((shape) => ({ shape }));
      this.formula.replaceChildren(...formulaOf(node, app.network.operatorOf(node), weights,
        node.inputs.map((name) => ({ shape: app.network.byName.get(name)?.shape ?? app.description.inputShape }))));
    }
    this.showOutputs(tensor);
    if (node) this.gradient.replaceChildren(...[app.gradientSection(node)].filter(Boolean));
    this.stats.replaceChildren(statistics(node?.figures ?? figuresOf(tensor), node?.op),
      app.description.sampled ? " (of the whole; shown are samples)." : ". Click a value to take it apart.");
    for (const view of this.weightViews) this.refreshWeight(view);
  }

  showOutputs({ data, shape }) {
    const { app } = this;
    const [H, W, C] = shape;
    const shown = Math.min(C, this.wanted);
    while (this.outputs.querySelectorAll("figure").length > shown) this.outputs.lastChild.remove();
    for (let c = this.outputs.querySelectorAll("figure").length; c < shown; c++) {
      this.outputs.append(this.figure(c, H === 1));
    }
    this.outputs.querySelector("button")?.remove();
    if (shown < C) {
      this.outputs.append(button(`show all ${C} channels`, () => {
        this.wanted = C;
        this.refresh();
      }));
    }
    const range = rangeOf(data);
    const largest = Math.max(-range[0], range[1]);
    const before = app.isEdited() ? app.original.tensors.get(this.name)?.data : null;
    const at = app.state.layer === this.name ? app.state.index : null;
    this.outputs.querySelectorAll("figure").forEach((figure, channel) => {
      const canvas = figure.firstChild;
      const here = at && at[2] === channel;
      figure.classList.toggle("chosen", Boolean(here));
      if (H === 1) {
        drawSignal(canvas, { data, channels: C, channel, range: widened(range), before, marked: here ? at[1] : null });
      } else drawMap(canvas, { data, shape, channel, largest, marked: here ? at.slice(0, 2) : null, size: 128 });
      const [low, high] = rangeOf(data, channel, C);
      figure.lastChild.textContent = `${channel}: ${briefly(low)} … ${briefly(high)}${low === high ? " (constant)" : ""}`;
    });
    this.outputs.classList.toggle("maps", H > 1);
    this.columns = W;
  }

  figure(channel, isSignal) {
    const canvas = make("canvas", isSignal ? { width: 320, height: 72 } : {});
    canvas.addEventListener("click", (event) => {
      const { shape: [H, W] } = this.tensor();
      const [y, x] = pixelOf(canvas, event);
      const inside = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
      this.app.pick(this.name, [inside(y / canvas.height, H), inside(x / canvas.width, W), channel]);
      if (innerWidth < 900) document.getElementById("number").scrollIntoView({ behavior: "smooth" });
    });
    return make("figure", {}, canvas, make("figcaption", {}));
  }
}

function shapeText([H, W, C]) {
  return H === 1 ? `${counted(W)} samples × ${counted(C)} channels` : `${H} × ${W} pixels × ${C} channels`;
}

function axisNames(shape) {
  return { 4: ["ky", "kx", "c", "f"], 2: ["row", "column"], 1: ["channel"] }[shape.length] ?? shape.map((_, k) => `axis ${k}`);
}

function axes(shape) {
  return shape.length === 4 ? " (ky, kx, c, f): one tile an input channel c (down) and filter f (across)" : "";
}

function settings(node) {
  const { stride, dilation, pads, window, factor, eps, rate } = node.attrs;
  const parts = [
    stride && `stride ${stride.join(" × ")}`, dilation && `dilation ${dilation.join(" × ")}`,
    window && `window ${window.join(" × ")}`, factor && `factor ${factor.join(" × ")}`,
    pads && `padding top ${pads[0][0]}, bottom ${pads[0][1]}, left ${pads[1][0]}, right ${pads[1][1]}`,
    eps && `eps ${eps}`, rate !== undefined && `rate ${rate}`,
  ].filter(Boolean);
  return parts.length ? parts.join("; ") : "none";
}

// Range, mean, saturation, dead channels of a whole tensor.
function figuresOf({ data, shape }) {
  const C = shape[2];
  const [low, high] = rangeOf(data);
  const figures = { low, high, zeros: 0, sixes: 0, mean: 0, wrong: 0, dead: [] };
  for (const value of data) {
    figures.mean += value / data.length;
    if (value === 0) figures.zeros += 1 / data.length;
    if (value === 6) figures.sixes += 1 / data.length;
    if (!Number.isFinite(value)) figures.wrong++;
  }
  for (let c = 0; c < C; c++) {
    const [least, most] = rangeOf(data, c, C);
    if (least === 0 && most === 0) figures.dead.push(c);
  }
  return figures;
}

function statistics({ low, high, mean, zeros, sixes, dead, wrong }, op) {
  const parts = [`Range ${briefly(low)} to ${briefly(high)}, mean ${briefly(mean)}; ${percent(zeros)} exactly 0`,
    op === "relu6" ? `, ${percent(sixes)} at 6` : "", wrong ? `, ${counted(wrong)} not finite` : "",
    dead.length ? `. Dead channels (0 everywhere on this input): ${dead.slice(0, 20).join(", ")}${dead.length > 20 ? ", …" : ""}`
      : ". No dead channel"];
  return parts.join("");
}

function oddityText({ what, reference, paper, cost, test }) {
  return make("div", { className: "oddity" }, make("p", {}, make("strong", {}, what)),
    facts([["reference", reference], ["paper", paper], ["cost", cost], ["pinned by", test]]));
}
