// The panel of one layer: what it computes, what it costs, its weights, its output on the input, what to change in it.

import { changesOf } from "./changes.js";
import { button, details, facts, make, rebuild } from "./dom.js";
import { counted, percent } from "./format.js";
import { formulaOf } from "./formulas.js";
import {
  figuresOf,
  limitsOf,
  meaning,
  memoryOf,
  oddityText,
  placeText,
  rangeText,
  settings,
  shapeText,
  statistics,
} from "./layer_text.js";
import { sourceOf } from "./network.js";
import { drawMap, drawSignal, pixelOf, widened } from "./pictures.js";
import { WeightView } from "./weights.js";

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
    rebuild(this.root, this.heading(name), ...(node ? this.body(node) : [this.inputBody()]));
    this.refresh();
  }

  heading(name) {
    const { app } = this;
    const names = app.layerNames();
    const at = names.indexOf(name);
    const choose = make(
      "select",
      {
        "aria-label": "layer",
        onchange: () => app.select(choose.value),
      },
      (at < 0 ? [name, ...names] : names).map((each) => make("option", { value: each, selected: each === name }, each)),
    );
    return make(
      "div",
      { className: "heading" },
      make("h2", {}, name),
      make(
        "div",
        { className: "controls" },
        button("◀", () => app.select(names[at - 1]), { disabled: at <= 0, "aria-label": "previous layer" }),
        choose,
        button("▶", () => app.select(names[at + 1]), { disabled: at === names.length - 1, "aria-label": "next layer" }),
      ),
    );
  }

  inputBody() {
    this.outputs = make("div", { className: "grid" });
    this.stats = make("p", { className: "stats" });
    this.weightViews = [];
    return make(
      "div",
      {},
      make("p", {}, `The network's input, ${shapeText(this.tensor().shape)}.`),
      this.stats,
      this.outputs,
    );
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
    this.weightViews = node.weights.map((name) => new WeightView(name, app, this.weightAt));
    const total = description.nodes.reduce((sum, each) => sum + each.macs, 0);
    return [
      make("p", { className: "does" }, description.says[node.op]),
      this.formula,
      changesOf(node, app),
      facts([
        ["place", placeText(node.name)],
        ["operator", node.op],
        ["reads", node.inputs.flatMap((name, k) => [...(k ? [", "] : []), this.link(name)])],
        ["read by", this.readers(node.name)],
        node.standsFor && ["stands for", node.standsFor],
        app.description.integer && ["its integers", meaning(app.description.tensors[node.name])],
        ["output", `${shapeText(node.shape)} = ${counted(node.shape.reduce((a, b) => a * b))} values`],
        ["settings", settings(node)],
        [
          "parameters",
          node.weights.length
            ? `${counted(node.parameters)}  (${node.weights
                .map((name, k) => `${name.split("/").pop()} ${node.weightShapes[k].join("×")}`)
                .join(", ")})`
            : "none",
        ],
        [
          "costs",
          node.macs
            ? `${counted(node.macs)} multiply-accumulates (MACs), ${percent(node.macs / total)} of the ` +
              `network's; ${counted(2 * node.macs)} ${description.integer ? "integer operations" : "FLOPs"}`
            : "no multiply-accumulates",
        ],
        ["memory", memoryOf(node, description)],
        node.sees && ["receptive field", node.sees],
      ]),
      this.section("output", "Output on this input", this.stats, this.outputs),
      node.weights.length
        ? this.section(
            "weights",
            "Weights",
            this.weightViews.map((view) => view.root),
          )
        : null,
      (this.gradient = make("div", {})),
      node.oddities.length
        ? this.section(
            "oddities",
            "Where the reference is odd",
            node.oddities.map((k) => oddityText(description.oddities[k])),
          )
        : null,
      this.section(
        "source",
        "Source of the operator",
        make("pre", {}, description.sources[node.op]),
        make("h4", {}, "The same in this page's JavaScript"),
        make("pre", {}, sourceOf(node.op, app.description.integer)),
      ),
    ].filter(Boolean);
  }

  weightView(name) {
    return this.weightViews.find((view) => view.name === name);
  }

  // Show one weight of this layer, chosen in another panel.
  chooseWeight(name, at) {
    this.weightAt.set(name, at);
    this.open.add("weights");
    this.show(this.name);
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
    return readers.length
      ? readers.flatMap((node, k) => [...(k ? [", "] : []), this.link(node.name)])
      : "nobody: it is the network's output";
  }

  // Draw again what depends on numbers.
  refresh() {
    const { app } = this;
    const tensor = this.tensor();
    const node = app.network.byName.get(this.name);
    if (!tensor) return; // not computed yet
    if (node && this.shownOperator !== this.name + app.network.operatorOf(node)) {
      this.shownOperator = this.name + app.network.operatorOf(node);
      if (app.description.integer) {
        this.formula.replaceChildren(make("pre", {}, app.description.formulas[node.op]));
      } else this.showFormula(node);
    }
    this.refreshNumbers(node, tensor);
  }

  showFormula(node) {
    const { network, description } = this.app;
    const weights = node.weightShapes.map((shape) => ({ shape }));
    const inputs = node.inputs.map((name) => ({ shape: network.byName.get(name)?.shape ?? description.inputShape }));
    this.formula.replaceChildren(...formulaOf(node, network.operatorOf(node), weights, inputs));
  }

  refreshNumbers(node, tensor) {
    const { app } = this;
    const figures = this.figures(tensor);
    this.showOutputs(tensor, figures);
    if (node) this.gradient.replaceChildren(...[app.gradientSection(node)].filter(Boolean));
    this.stats.replaceChildren(
      statistics(node?.figures ?? figures, this.limits()),
      app.description.sampled ? " (of the whole; shown are samples)." : ". Click a value to take it apart.",
    );
    for (const view of this.weightViews) view.refresh();
  }

  limits() {
    return limitsOf(this.name, this.app.network.byName.get(this.name), this.app.description);
  }

  // figuresOf, once for each array.
  figures(tensor) {
    if (this.counted?.data !== tensor.data)
      this.counted = { data: tensor.data, figures: figuresOf(tensor, this.limits()) };
    return this.counted.figures;
  }

  showOutputs({ data, shape }, { low, high, channels }) {
    const { app } = this;
    const [H, W, C] = shape;
    const shown = Math.min(C, this.wanted);
    while (this.outputs.querySelectorAll("figure").length > shown) this.outputs.lastChild.remove();
    for (let c = this.outputs.querySelectorAll("figure").length; c < shown; c++) {
      this.outputs.append(this.figure(c, H === 1));
    }
    this.outputs.querySelector("button")?.remove();
    if (shown < C) {
      this.outputs.append(
        button(`show all ${C} channels`, () => {
          this.wanted = C;
          this.refresh();
        }),
      );
    }
    const range = low <= high ? [low, high] : [0, 0];
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
      const [least, most] = channels[channel];
      figure.lastChild.textContent = `${channel}: ${rangeText(least, most, " … ")}${least === most ? " (constant)" : ""}`;
    });
    this.outputs.classList.toggle("maps", H > 1);
    this.columns = W;
  }

  figure(channel, isSignal) {
    const canvas = make("canvas", isSignal ? { width: 320, height: 72 } : {});
    canvas.addEventListener("click", (event) => {
      const {
        shape: [H, W],
      } = this.tensor();
      const [y, x] = pixelOf(canvas, event);
      const inside = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
      this.app.pick(this.name, [inside(y / canvas.height, H), inside(x / canvas.width, W), channel]);
      if (innerWidth < 900) document.getElementById("number").scrollIntoView({ behavior: "smooth" });
    });
    return make("figure", {}, canvas, make("figcaption", {}));
  }
}
