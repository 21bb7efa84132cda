// Where the page begins: read what it holds, compute, show, and offer both to other scripts as window.npunet.

import { readPage } from "./data.js";
import { Comparing } from "./comparing.js";
import { Diagram } from "./diagram.js";
import { make } from "./dom.js";
import { fma32 } from "./fma.js";
import { BETWEEN, flat, shapeOf, takeApart } from "./apart.js";
import { differentiate } from "./gradients.js";
import { showHeader } from "./header.js";
import { LayerPanel } from "./layer.js";
import { Learning } from "./learning.js";
import { Network } from "./network.js";
import { NumberPanel } from "./number.js";
import { Overview } from "./overview.js";
import { reach } from "./reach.js";

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
    const [from, to] = [shapeOf(network, app.state.layer), network.shapeOf(layer)];
    const sameShare = (position, axis) => Math.min(to[axis] - 1, Math.floor((position * to[axis]) / from[axis]));
    const [i, j, c] = app.state.index;
    app.pick(layer, [sameShare(i, 0), sameShare(j, 1), Math.min(c, to[2] - 1)]);
  },

  pick(layer, index) {
    const to = `#${layer}[${index.join(",")}]`;
    if (decodeURIComponent(location.hash) !== to) location.hash = to;
    app.follow(); // at once: the event comes later, and what is pressed before it would find the old layer
  },

  // Show what the address names: a layer and an index.
  follow() {
    app.followed = decodeURIComponent(location.hash);
    const found = /^#(.+)\[(\d+),(\d+),(\d+)\]$/.exec(app.followed);
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
    panels.layer.weightView(name).root.scrollIntoView({ block: "nearest" });
  },

  // The part of the input that the number which is looked at depends on: [[rows], [columns]], or undefined.
  window: () => reach(network, app.ownLayer(), app.state.index).get(network.input),

  // The layer that is looked at: the separable convolution where it is the depthwise half of one.
  ownLayer() {
    const { layer } = app.state;
    return network.shapeOf(layer) ? layer : layer.slice(0, -BETWEEN.length);
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
    showHeader(app);
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

async function begin() {
  if (description.sampled) network.hold(tensors);
  else if (description.nodes.reduce((sum, node) => sum + node.macs, 0) > HEAVY) network.arithmetic = "seq";
  if (!description.sampled) for (const each of [network, original]) each.setInput(tensors.get(description.input).data);
  build();
  addEventListener("hashchange", () => {
    if (decodeURIComponent(location.hash) !== app.followed) app.follow();
  });
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

// Why this page has no losses, gradients and training steps; null where it has them.
function withoutGradients() {
  if (description.sampled) return "There are none here: the network is too large to be computed in a page.";
  if (!description.integer) return null;
  return (
    "There are none here: an integer network rounds at every layer, so that its output changes in steps, and its " +
    "gradient is 0 or undefined everywhere. Integers keep no float weights to differentiate instead. The page of the " +
    "float network that these integers were made from (npunet page MODEL) has its losses and gradients."
  );
}

// Everything that the page shows, before the network has been computed.
function build() {
  const toLayer = () => document.getElementById("layer").scrollIntoView({ behavior: "smooth" });
  panels.diagram = new Diagram(document.getElementById("drawing"), app.select, toLayer);
  showHeader(app);
  panels.overview = new Overview(document.getElementById("overview"), app);
  const learning = document.getElementById("learning");
  const why = withoutGradients();
  if (why) learning.append(make("h2", {}, "Loss and gradients"), make("p", { className: "small" }, why));
  panels.learning = why ? { refresh() {}, ofLayer: () => null, ofNumber: () => null } : new Learning(learning, app);
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
  // A loss against labels (the likeliest classes without), in float64: { loss, layers, weights } by name.
  gradients(labels = null, loss = undefined) {
    const found = differentiate(network, description.output, labels, { loss });
    const values = (map) => Object.fromEntries([...map].map(([name, { data }]) => [name, data]));
    return { loss: found.loss, layers: values(found.dtrace), weights: values(found.dweights) };
  },
};
