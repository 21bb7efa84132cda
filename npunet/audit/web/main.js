// Where the page begins: read what it holds, compute, show, and offer both to other scripts as window.npunet.

import { readPage } from "./data.js";
import { Comparing } from "./comparing.js";
import { Diagram } from "./diagram.js";
import { button, make, rebuild } from "./dom.js";
import { counted } from "./format.js";
import { fma32 } from "./fma.js";
import { flat, shapeOf, takeApart } from "./apart.js";
import { differentiate } from "./gradients.js";
import { LayerPanel } from "./layer.js";
import { Learning } from "./learning.js";
import { ARITHMETICS, Network } from "./network.js";
import { NumberPanel } from "./number.js";
import { Overview } from "./overview.js";

const HEAVY = 2e7; // multiply-accumulates of a network that is shown in "seq" first: three times as fast as "seq_fma"
const { description, tensors } = readPage();
const network = new Network(description, tensors);
const original = new Network(description, tensors); // as it was: computed once something has been changed

const app = {
  description,
  network,
  original,
  state: { layer: description.output, index: [0, 0, 0] },
  edits: 0,

  // The layers that the arrows of the layer panel walk through.
  layerNames: () =>
    description.tour.length ? description.tour : [network.input, ...description.nodes.map((node) => node.name)],
  isEdited: () => app.edits > 0,
  originalInput: () =>
    description.sampled ? network.tensors.get(network.input).data : original.tensors.get(original.input).data,

  select(layer) {
    const shape = network.shapeOf(layer);
    const index = app.state.index.map((position, axis) => Math.min(position, shape[axis] - 1));
    app.pick(layer, index);
  },

  pick(layer, index) {
    const to = `#${layer}[${index.join(",")}]`;
    if (decodeURIComponent(location.hash) === to) app.follow();
    else location.hash = to;
  },

  // Show what the address names: a layer and an index.
  follow() {
    const found = /^#(.+)\[(\d+),(\d+),(\d+)\]$/.exec(decodeURIComponent(location.hash));
    const shape = found && shapeOf(network, found[1]);
    if (!shape) return;
    const index = found.slice(2).map((text, axis) => Math.min(Number(text), shape[axis] - 1));
    const known = Boolean(network.shapeOf(found[1]));
    const changed = known && panels.layer.name !== found[1];
    app.state = { layer: found[1], index };
    if (found[1] === network.input) panels.overview.at = index;
    if (known) panels.diagram.show(found[1]);
    if (changed) panels.layer.show(found[1]);
    panels.number.show();
    app.refresh();
  },

  editInput(at, value) {
    const { data } = network.tensors.get(network.input);
    const edited = data.slice();
    edited[at] = app.admitted(value);
    network.setInput(edited);
    app.edited();
  },

  // A value as the input takes it: an integer network's are whole numbers within limits.
  admitted(value) {
    if (!description.integer) return value;
    const [low, high] = description.tensors[network.input].limits;
    return Math.min(Math.max(Math.round(value), low), high);
  },

  resetInput() {
    network.setInput(app.originalInput());
    app.schedule();
  },

  editWeight(name, at, value) {
    network.setWeight(name, at, description.integer ? Math.round(value) : value);
    app.edited();
  },

  change(layer, change) {
    network.setChange(layer, change);
    app.edited();
    panels.layer.show(app.state.layer);
  },

  edited() {
    app.edits++;
    app.schedule();
  },

  reset() {
    network.restore(original);
    app.edits = 0;
    app.showsOther = false;
    panels.layer.show(app.state.layer);
    app.schedule();
  },

  showWeight(name, index) {
    const node = description.nodes.find((each) => each.weights.includes(name));
    if (panels.layer.name !== node.name) app.select(node.name);
    panels.layer.chooseWeight(name, flat(network.weights.get(name).shape, index));
    panels.layer.show(panels.layer.name);
  },

  // Compute what is stale and draw it, once a frame however much changes in between.
  schedule() {
    app.pending = true;
    app.frame ??= new Promise((resolve) => {
      requestAnimationFrame(resolve);
    })
      .then(app.update)
      .finally(() => {
        app.frame = null;
        if (app.pending) app.schedule();
      });
    return app.frame;
  },

  async update() {
    app.pending = false;
    const count = network.stale.size;
    const start = performance.now();
    await network.settle();
    if (count) app.took = [count, performance.now() - start];
    if (!app.isEdited()) original.share(network);
    else {
      original.arithmetic = network.arithmetic;
      await original.settle();
    }
    app.refresh();
  },

  refresh() {
    showHeader();
    panels.overview.refresh();
    panels.learning.refresh();
    panels.comparing?.refresh();
    panels.layer.refresh();
    panels.number.refresh();
    panels.diagram.colour(app.isEdited() ? differences() : null);
  },
};
const panels = (app.panels = {});
app.gradientOf = (layer, index) => panels.learning.ofNumber(layer, index);
app.gradientSection = (node) => panels.learning.ofLayer(node);

// How much each layer differs from what it was, as a share of its range.
function differences() {
  const shares = new Map();
  for (const [name, { data }] of network.tensors) {
    const before = original.tensors.get(name)?.data;
    if (!before || before === data) continue;
    let most = 0;
    let range = 0;
    for (let k = 0; k < data.length; k++) {
      most = Math.max(most, Math.abs(data[k] - before[k]));
      range = Math.max(range, Math.abs(before[k]));
    }
    shares.set(name, most && Math.max(0.15, Math.min(1, most / (range || 1))));
  }
  return shares;
}

function showHeader() {
  const parameters = description.nodes.reduce((sum, node) => sum + node.parameters, 0);
  const macs = description.nodes.reduce((sum, node) => sum + node.macs, 0);
  const level = description.integer
    ? description.level
    : description.level === "trained"
      ? "trained (every layer as trained)"
      : "deploy (batch norm folded)";
  const arithmetics = ARITHMETICS.map((name) =>
    button(
      name,
      () => {
        network.arithmetic = name;
        app.schedule();
      },
      { "aria-pressed": String(network.arithmetic === name) },
    ),
  );
  const took = app.took && `; last: ${counted(app.took[0])} layers computed in ${app.took[1].toFixed(1)} ms`;
  app.doing = make("span", {}, app.progress ?? took ?? "");
  rebuild(
    document.getElementById("header"),
    make("h1", {}, description.title),
    make(
      "p",
      {},
      `${counted(parameters)} parameters, ${counted(macs)} MACs, ${description.nodes.length} layers; level: ${level}`,
      app.doing,
    ),
    description.sampled
      ? make(
          "p",
          { className: "was" },
          "This network is too large to be held whole: the page shows samples of its " +
            "weights and of every layer's output, computed beforehand, with figures over the whole of them. Nothing is recomputed here.",
        )
      : make(
          "div",
          { className: "controls" },
          ...(description.integer ? [] : [make("span", {}, "Arithmetic"), ...arithmetics]),
          app.isEdited() ? button("reset all changes", app.reset, { className: "strong" }) : null,
        ),
  );
}

async function begin() {
  if (description.sampled) network.hold(tensors);
  else if (description.nodes.reduce((sum, node) => sum + node.macs, 0) > HEAVY) network.arithmetic = "seq";
  if (!description.sampled) for (const each of [network, original]) each.setInput(tensors.get(description.input).data);
  build();
  addEventListener("hashchange", app.follow);
  addEventListener("resize", () => app.schedule());
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", app.refresh);
  }
  app.follow();
  if (!panels.layer.name) {
    const first = description.tour[0] ?? description.nodes[0]?.name ?? network.input;
    const [H, W] = network.shapeOf(first);
    history.replaceState(null, "", `#${first}[${Math.floor(H / 2)},${Math.floor(W / 2)},0]`);
    app.follow();
  }
  await computeFirst();
}

// Everything that the page shows, before the network has been computed.
function build() {
  panels.diagram = new Diagram(document.getElementById("drawing"), app.select);
  showHeader();
  panels.overview = new Overview(document.getElementById("overview"), app);
  if (description.sampled || description.integer) document.getElementById("learning").remove();
  panels.learning =
    description.sampled || description.integer
      ? { refresh() {}, ofLayer: () => null, ofNumber: () => null }
      : new Learning(document.getElementById("learning"), app);
  if (description.comparison) panels.comparing = new Comparing(document.getElementById("comparison"), app, tensors);
  else document.getElementById("comparison").remove();
  panels.diagram.mark(panels.comparing?.statuses());
  panels.layer = new LayerPanel(document.getElementById("layer"), app);
  panels.number = new NumberPanel(document.getElementById("number"), app);
}

// Compute the network for the first time: the page can be used meanwhile, and the chosen layer shows as soon as it can.
async function computeFirst() {
  let shown = null;
  network.progress = (done) => {
    app.progress = `; computing: ${done} of ${description.nodes.length} layers`;
    app.doing.textContent = app.progress;
    if (shown === app.state.layer || !network.tensors.has(app.state.layer)) return;
    shown = app.state.layer;
    panels.layer.refresh();
    panels.number.refresh();
  };
  await network.settle();
  network.progress = null;
  app.progress = null;
  if (!app.isEdited()) original.share(network);
  app.refresh();
}

window.npunet = {
  level: description.level,
  inputShape: description.inputShape,
  fma32,
  app,
  ready: begin(),
  get arithmetic() {
    return network.arithmetic;
  },
  set arithmetic(name) {
    network.arithmetic = name;
    app.schedule();
  },
  async setInput(values) {
    network.setInput(values);
    original.setInput(values);
    panels.overview?.newInput();
    await network.settle();
    app.schedule();
  },
  trace: () => network.trace(),
  takeApart: (layer, index) => takeApart(network, layer, index),
  // Cross-entropy against labels (the likeliest classes without), in float64: { loss, layers, weights } by name.
  gradients(labels = null) {
    const found = differentiate(network, description.output, labels);
    const values = (map) => Object.fromEntries([...map].map(([name, { data }]) => [name, data]));
    return { loss: found.loss, layers: values(found.dtrace), weights: values(found.dweights) };
  },
};
