// The panel of one number: where it comes from, product by product.

import { BETWEEN, flat, takeApart, tensorOf } from "./apart.js";
import { button, make, numberField, rebuild } from "./dom.js";
import { bitsOf, briefly, counted, exactly, hexFloat } from "./format.js";

const ROWS = 40; // terms that are shown at once
const ROUNDED = {
  seq: "Arithmetic seq: each product is rounded, then each sum.",
  seq_fma: "Arithmetic seq_fma: product and sum are rounded once together.",
};

export class NumberPanel {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.term = 0;
  }

  show() {
    this.term = 0;
    this.refresh();
  }

  refresh() {
    const { app } = this;
    const { layer, index } = app.state;
    if (app.description.sampled) {
      rebuild(
        this.root,
        make("h2", {}, "One number taken apart"),
        make("p", {}, "This page holds samples only. In a terminal:"),
        make("pre", {}, `npunet explain MODEL INPUT "${layer}[row, column, channel]"`),
      );
      return;
    }
    const tensor = tensorOf(app.network, layer);
    if (!tensor) return;
    this.parts = takeApart(app.network, layer, index);
    const value = tensor.data[flat(tensor.shape, index)];
    rebuild(
      this.root,
      ...[
        make("div", { className: "heading" }, make("h2", {}, "One number taken apart")),
        this.place(layer, index, tensor.shape),
        this.valueLine(layer, index, value),
        this.before(layer, index),
        ...(this.parts ? this.origin() : [make("p", {}, "It is part of the input, and comes from nowhere else.")]),
        this.onwards(layer, index),
        app.gradientOf(layer, index),
      ].filter(Boolean),
    );
  }

  place(layer, index, shape) {
    const { app } = this;
    const names = shape[0] === 1 ? ["row", "sample", "channel"] : ["row", "column", "channel"];
    const fields = names.map((name, axis) =>
      shape[axis] === 1
        ? null
        : numberField(name, index[axis], 0, shape[axis] - 1, (position) => app.pick(layer, index.with(axis, position))),
    );
    const own = app.network.byName.has(layer) || layer === app.network.input ? layer : layer.slice(0, -BETWEEN.length);
    return make(
      "div",
      { className: "controls" },
      button("◀ back", () => history.back()),
      button(layer, () => app.select(own), { className: "link" }),
      ...fields.filter(Boolean),
    );
  }

  valueLine(layer, index, value) {
    return make(
      "p",
      { className: "value" },
      make("code", {}, `${layer}[${index.join(", ")}]`),
      " = ",
      make("strong", {}, exactly(value)),
      make("br"),
      ...(this.app.description.integer
        ? [this.standsFor(layer, value)]
        : [make("code", {}, hexFloat(value)), " · bits ", make("code", {}, `0x${bitsOf(value)}`)]),
    );
  }

  // The real value beside an integer.
  standsFor(layer, value) {
    const { scale, zeroPoint } = this.app.description.tensors[layer];
    return `stands for ${exactly(scale * (value - zeroPoint))} = ${exactly(scale)} · (${value} − ${zeroPoint})`;
  }

  // What it was before the changes, where it is another.
  before(layer, index) {
    const { app } = this;
    if (!app.isEdited()) return null;
    const tensor = tensorOf(app.original, layer);
    const value = tensorOf(app.network, layer).data[flat(tensor.shape, index)];
    const was = tensor.data[flat(tensor.shape, index)];
    return make(
      "p",
      { className: "was" },
      Object.is(was, value)
        ? "The changes have not touched it."
        : `Before the changes it was ${exactly(was)}: ${briefly(value - was)} apart.`,
    );
  }

  origin() {
    const { terms, steps, choice } = this.parts;
    const parts = [];
    if (terms.length) parts.push(...(terms[0].weight ? this.products(terms, steps) : this.candidates(terms, choice)));
    if (steps.length) parts.push(this.stepTable(steps));
    const { seq, seq_fma: fused } = this.results(terms, steps);
    if (seq !== undefined && !Object.is(seq, fused)) {
      parts.push(
        make(
          "p",
          { className: "differ" },
          `The two arithmetics differ here: seq ${hexFloat(seq)}, seq_fma ${hexFloat(fused)}.`,
        ),
      );
    } else if (seq !== undefined)
      parts.push(make("p", { className: "small" }, "seq and seq_fma give the same bits here."));
    return parts;
  }

  // The final values under both arithmetics, where the number is a sum of products.
  results(terms, steps) {
    if (!terms.length || !terms[0].weight || this.app.description.integer) return {};
    const last = steps.find((step) => step.fused !== undefined);
    return last ? { seq: last.value, seq_fma: last.fused } : { seq: terms.at(-1).seq, seq_fma: terms.at(-1).seq_fma };
  }

  products(terms) {
    const { app } = this;
    const [, , c] = terms[0].weightAt;
    const order = terms.some((term) => term.weightAt[2] !== c) ? "ky, then kx, then c" : "ky, then kx";
    const padded = terms.filter((term) => !term.at).length;
    this.term = Math.min(this.term, terms.length - 1);
    const first = Math.max(0, Math.min(this.term - ROWS / 2, terms.length - ROWS));
    const shown = terms.slice(first, first + ROWS);
    const key = app.network.arithmetic;
    const { integer } = app.description;
    const head = ["", "x, from", "x", "weight", "w", "x · w", "running sum", integer ? "" : "bits of the sum"];
    const rows = shown.map((term, k) =>
      make(
        "tr",
        {
          className: [first + k === this.term ? "current" : "", term.at ? "" : "padding"].join(" "),
          onclick: () => this.go(first + k),
        },
        make("td", {}, String(first + k + 1)),
        make("td", {}, term.at ? this.link(term.tensor, term.at) : "padding"),
        make("td", { className: "n" }, briefly(term.x)),
        make("td", {}, this.weightLink(term)),
        make("td", { className: "n" }, briefly(term.w)),
        make("td", { className: "n" }, briefly(term.product)),
        make("td", { className: "n" }, exactly(term[key])),
        make("td", {}, integer ? "" : make("code", {}, bitsOf(term[key]))),
      ),
    );
    return [
      make(
        "p",
        {},
        `The sum starts at ${integer ? "the bias" : "+0"} and takes ${counted(terms.length)} product${terms.length > 1 ? "s" : ""}, in the order ${order}` +
          `${padded ? `; ${padded} of them lie in the padding and count as 0` : ""}. ` +
          (integer ? "Nothing is rounded; x is q minus the input's zero point." : ROUNDED[key]),
      ),
      this.stepper(terms, key),
      make(
        "div",
        { className: "scroll" },
        make(
          "table",
          { className: "terms" },
          make(
            "thead",
            {},
            make(
              "tr",
              {},
              head.map((name) => make("th", {}, name)),
            ),
          ),
          make("tbody", {}, rows),
        ),
      ),
      terms.length > ROWS
        ? make(
            "p",
            { className: "small" },
            `Terms ${first + 1} to ${first + shown.length} of ${counted(terms.length)}.`,
          )
        : null,
    ].filter(Boolean);
  }

  stepper(terms, key) {
    const term = terms[this.term];
    const earlier = this.term ? terms[this.term - 1][key] : this.app.description.integer ? term[key] - term.product : 0;
    const where = term.at ? `${term.tensor}[${term.at.join(", ")}]` : "the padding";
    const told = make(
      "p",
      { className: "step", "aria-live": "polite" },
      `Term ${this.term + 1} of ${terms.length}: ${exactly(term.x)} (${where}) · ${exactly(term.w)} = ${briefly(term.product)}; ` +
        `the sum goes from ${exactly(earlier)} to ${exactly(term[key])}.`,
    );
    const step = (name, to, label) =>
      button(name, () => this.go(to, label), {
        disabled: to < 0 || to >= terms.length || to === this.term,
        "aria-label": label,
      });
    return make(
      "div",
      { className: "stepper" },
      make(
        "div",
        { className: "controls" },
        step("first", 0, "first term"),
        step("◀", this.term - 1, "previous term"),
        step("▶", this.term + 1, "next term"),
        step("last", terms.length - 1, "last term"),
        ...(term.at ? [button("go to this x", () => this.app.pick(term.tensor, term.at))] : []),
      ),
      told,
    );
  }

  // Step to a term; the button that was pressed keeps the focus, so that it can be pressed again.
  go(term, label) {
    this.term = term;
    this.refresh();
    if (label) this.root.querySelector(`[aria-label="${label}"]`)?.focus();
  }

  link(tensor, at) {
    return button(
      `[${at.join(", ")}]`,
      (event) => {
        event.stopPropagation();
        this.app.pick(tensor, at);
      },
      { className: "link", title: `${tensor}: take this number apart` },
    );
  }

  weightLink({ weight, weightAt }) {
    return button(
      `[${weightAt.join(", ")}]`,
      (event) => {
        event.stopPropagation();
        this.app.showWeight(weight, weightAt);
      },
      { className: "link", title: `${weight}: show and change this weight` },
    );
  }

  candidates(terms, choice) {
    const head = ["x, from", "x", choice >= 0 ? "" : "running sum"];
    const rows = terms.map((term, k) =>
      make(
        "tr",
        { className: k === choice ? "current" : "" },
        make("td", {}, this.link(term.tensor, term.at)),
        make("td", { className: "n" }, exactly(term.x)),
        make(
          "td",
          { className: "n" },
          choice >= 0 ? (k === choice ? "the largest (the first of equal ones)" : "") : exactly(term.seq),
        ),
      ),
    );
    return [
      make(
        "table",
        { className: "terms" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            head.map((name) => make("th", {}, name)),
          ),
        ),
        make("tbody", {}, rows),
      ),
    ];
  }

  stepTable(steps) {
    const rows = steps.map((step) =>
      make(
        "tr",
        {},
        make(
          "td",
          {},
          step.text,
          " ",
          step.tensor ? this.link(step.tensor, step.at) : "",
          step.weight ? this.weightLink(step) : "",
          step.addend !== undefined ? ` ${exactly(step.addend)}` : "",
        ),
        make(
          "td",
          { className: "n" },
          exactly(this.app.network.arithmetic === "seq_fma" ? (step.fused ?? step.value) : step.value),
        ),
      ),
    );
    return make("table", { className: "terms" }, make("tbody", {}, rows));
  }

  // The layers that read it, at about the same place.
  onwards(layer, index) {
    const readers = this.app.network.readers.get(layer) ?? [];
    if (!readers.length) return null;
    const from = this.app.network.tensors.get(layer).shape;
    const links = readers.flatMap((node, k) => {
      const at = node.shape.map((size, axis) =>
        Math.min(size - 1, axis < 2 ? Math.floor((index[axis] * size) / from[axis]) : index[2]),
      );
      return [k ? ", " : "", button(node.name, () => this.app.pick(node.name, at), { className: "link" })];
    });
    return make("p", { className: "small" }, "Read by ", ...links, ".");
  }
}
