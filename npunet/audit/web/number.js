// The panel of one number: where it comes from, what it is, what reads it.

import { BETWEEN, flat, takeApart, tensorOf } from "./apart.js";
import { LiveTexts, button, make, numberField, rebuild } from "./dom.js";
import { bitsOf, briefly, exactly, hexFloat } from "./format.js";
import { TermsView } from "./terms.js";

const HEADING = "One number taken apart";

export class NumberPanel {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.terms = new TermsView(app, () => this.refresh());
    this.gradient = make("div", {});
  }

  show() {
    this.terms.term = 0;
    this.refresh();
  }

  // While somebody drags the input only numbers change: then their texts are set anew, and nothing else.
  refresh() {
    const { app } = this;
    const { layer, index } = app.state;
    if (app.description.sampled) return this.say("This page holds samples only. In a terminal:", inTerminal(layer));
    const tensor = tensorOf(app.network, layer);
    if (!tensor) return this.say(`${layer} is being computed.`);
    this.parts = takeApart(app.network, layer, index);
    this.value = tensor.data[flat(tensor.shape, index)];
    const key = this.structure();
    if (key === this.key) this.texts.update();
    else this.build(layer, index, tensor.shape);
    this.key = key;
    this.gradient.replaceChildren(...[app.gradientOf(layer, index)].filter(Boolean));
    return undefined;
  }

  say(...told) {
    this.key = null;
    const lines = told.map((each) => (typeof each === "string" ? make("p", {}, each) : each));
    rebuild(this.root, make("h2", {}, HEADING), ...lines);
  }

  // All that decides which elements stand in the panel.
  structure() {
    const { app, parts } = this;
    const { layer, index } = app.state;
    const made = parts && [
      parts.choice,
      parts.terms.length,
      this.terms.differ(parts.terms),
      parts.steps.map(({ tensor, at, fused, value }) => [tensor, at, fused !== undefined && !Object.is(fused, value)]),
    ];
    const { arithmetic, changes } = app.network;
    return JSON.stringify([layer, index, this.terms.term, arithmetic, app.isEdited(), [...changes], made]);
  }

  build(layer, index, shape) {
    this.texts = new LiveTexts();
    rebuild(
      this.root,
      make("h2", {}, HEADING),
      this.place(layer, index, shape),
      this.valueLine(layer, index),
      this.app.isEdited() ? this.before(layer, index) : null,
      ...(this.parts ? this.origin() : [make("p", {}, "It is part of the input, and comes from nowhere else.")]),
      this.onwards(layer, index),
      this.gradient,
    );
  }

  place(layer, index, shape) {
    const { app } = this;
    const names = shape[0] === 1 ? ["row", "sample", "channel"] : ["row", "column", "channel"];
    const fields = names.flatMap((name, axis) =>
      shape[axis] === 1
        ? []
        : [
            numberField(name, index[axis], 0, shape[axis] - 1, (position) =>
              app.pick(layer, index.with(axis, position)),
            ),
          ],
    );
    const own = app.network.shapeOf(layer) ? layer : layer.slice(0, -BETWEEN.length);
    return make(
      "div",
      { className: "controls" },
      button("◀ back", () => history.back(), { title: "to the number that was looked at before" }),
      button(layer, () => app.select(own), { className: "link" }),
      ...fields,
    );
  }

  valueLine(layer, index) {
    const text = (say) => this.texts.text(() => say(this.value));
    return make(
      "p",
      { className: "value" },
      make("code", {}, `${layer}[${index.join(", ")}]`),
      " = ",
      make("strong", {}, text(exactly)),
      make("br"),
      ...(this.app.description.integer
        ? [text((value) => this.standsFor(layer, value))]
        : [
            make("code", {}, text(hexFloat)),
            " · bits ",
            make(
              "code",
              {},
              text((value) => `0x${bitsOf(value)}`),
            ),
          ]),
    );
  }

  // The real value beside an integer.
  standsFor(layer, value) {
    const { scale, zeroPoint } = this.app.description.tensors[layer];
    return `stands for ${exactly(scale * (value - zeroPoint))} = ${exactly(scale)} · (${value} − ${zeroPoint})`;
  }

  // What it was before the changes.
  before(layer, index) {
    const text = this.texts.text(() => {
      const tensor = tensorOf(this.app.original, layer);
      if (!tensor) return "";
      const was = tensor.data[flat(tensor.shape, index)];
      return Object.is(was, this.value)
        ? "The changes have not touched it."
        : `Before the changes it was ${exactly(was)}: ${briefly(this.value - was)} apart.`;
    });
    return make("p", { className: "was" }, text);
  }

  origin() {
    const parts = () => this.parts;
    const { terms, steps } = this.parts;
    const made = [];
    if (terms.length) made.push(...this.terms.show(parts, this.texts));
    if (steps.length) made.push(this.terms.steps(parts, this.texts));
    return [...made, this.verdict()].filter(Boolean);
  }

  // Whether the two arithmetics end in the same bits, where the number is a sum of products.
  verdict() {
    if (!this.results()) return null;
    const text = this.texts.text(() => {
      const [seq, fused] = this.results();
      return Object.is(seq, fused)
        ? "seq and seq_fma give the same bits here."
        : `The two arithmetics differ here: seq ${hexFloat(seq)}, seq_fma ${hexFloat(fused)}.`;
    });
    const [seq, fused] = this.results();
    return make("p", { className: Object.is(seq, fused) ? "small" : "differ" }, text);
  }

  results() {
    const { terms, steps } = this.parts;
    if (!terms[0]?.weight || this.app.description.integer) return null;
    const last = steps.find((step) => step.fused !== undefined);
    return last ? [last.value, last.fused] : [terms.at(-1).seq, terms.at(-1).seq_fma];
  }

  // The layers that read it, at about the same place.
  onwards(layer, index) {
    const readers = this.app.network.readers.get(layer) ?? [];
    if (!readers.length) return null;
    const from = this.app.network.shapeOf(layer);
    const links = readers.flatMap((node, k) => {
      const at = node.shape.map((size, axis) =>
        Math.min(size - 1, axis < 2 ? Math.floor((index[axis] * size) / from[axis]) : index[2]),
      );
      return [k ? ", " : "", button(node.name, () => this.app.pick(node.name, at), { className: "link" })];
    });
    return make("p", { className: "small" }, "Read by ", ...links, ".");
  }
}

function inTerminal(layer) {
  return make("pre", {}, `npunet explain MODEL INPUT "${layer}[row, column, channel]"`);
}
