// The tables of one number: its products with the running sum, or the candidates of a maximum, and the steps besides.
//
// `parts` is a function that gives what takeApart (apart.js) found last; `texts` are the texts that change with it.

import { flat } from "./apart.js";
import { button, make, table, tableRow } from "./dom.js";
import { bitsOf, briefly, counted, exactly } from "./format.js";

const ROWS = 40; // terms that are shown at once
const ROUNDED = {
  seq: "Arithmetic seq: each product is rounded, then each sum.",
  seq_fma: "Arithmetic seq_fma: product and sum are rounded once together.",
};

export class TermsView {
  // refresh(): called when another term has been chosen
  constructor(app, refresh) {
    this.app = app;
    this.refresh = refresh;
    this.term = 0; // the one that is looked at
  }

  // Whether some running sum depends on the arithmetic.
  differ(terms) {
    return terms.some((term) => !Object.is(term.seq, term.seq_fma));
  }

  show(parts, texts) {
    return parts().terms[0].weight ? this.products(parts, texts) : [this.candidates(parts, texts)];
  }

  products(parts, texts) {
    const { integer } = this.app.description;
    const { terms } = parts();
    const key = this.app.network.arithmetic;
    this.term = Math.min(this.term, terms.length - 1);
    const first = Math.max(0, Math.min(this.term - ROWS / 2, terms.length - ROWS));
    const last = Math.min(first + ROWS, terms.length);
    const sums = this.differ(terms) ? ["seq", "seq_fma"] : [key];
    const head = sums.length > 1 ? ["sum in seq", "sum in seq_fma"] : ["running sum"];
    const columns = ["", "x, from", { n: "x" }, "weight", ...["w", "x · w", ...head].map((n) => ({ n }))];
    const withBits = !integer && sums.length === 1;
    const rows = Array.from({ length: last - first }, (_, k) =>
      this.product(first + k, () => parts().terms[first + k], texts, sums, withBits),
    );
    return [
      make("p", {}, this.order(terms), integer ? integerSums() : ROUNDED[key]),
      this.stepper(parts, texts, key),
      table([...columns, ...(withBits ? ["its bits"] : [])], rows),
      terms.length > ROWS
        ? make("p", { className: "small" }, `Terms ${first + 1} to ${last} of ${counted(terms.length)}.`)
        : null,
    ].filter(Boolean);
  }

  order(terms) {
    const [, , c] = terms[0].weightAt;
    const order = terms.some((term) => term.weightAt[2] !== c) ? "ky, then kx, then c" : "ky, then kx";
    const padded = terms.filter((term) => !term.at).length;
    return (
      `The sum starts at ${this.app.description.integer ? "the bias" : "+0"} and takes ${counted(terms.length)} ` +
      `product${terms.length > 1 ? "s" : ""}, in the order ${order}` +
      `${padded ? `; ${padded} of them lie${padded > 1 ? "" : "s"} in the padding and count${padded > 1 ? "" : "s"} as 0` : ""}. `
    );
  }

  product(number, term, texts, sums, withBits) {
    const n = (say) => ({ n: texts.text(() => say(term())) });
    const { at, tensor } = term();
    const classes = [number === this.term ? "current" : "", at ? "" : "padding"];
    return tableRow(
      [
        String(number + 1),
        at ? this.link(tensor, at) : "padding",
        n(({ x }) => briefly(x)),
        this.weightLink(term()),
        n(({ w }) => briefly(w)),
        n(({ product }) => briefly(product)),
        ...sums.map((arithmetic) => n((each) => exactly(each[arithmetic]))),
        ...(withBits
          ? [
              make(
                "code",
                {},
                texts.text(() => bitsOf(term()[sums[0]])),
              ),
            ]
          : []),
      ],
      { className: classes.join(" "), onclick: () => this.go(number) },
    );
  }

  stepper(parts, texts, key) {
    const count = parts().terms.length;
    const { at, tensor, weight, weightAt } = parts().terms[this.term];
    const shape = this.app.network.weights.get(weight).shape;
    const where = at ? `${tensor}[${at.join(", ")}]` : "the padding";
    const told = texts.text(() => {
      const { terms } = parts();
      const term = terms[this.term];
      const start = this.app.description.integer ? term[key] - term.product : 0;
      const earlier = this.term ? terms[this.term - 1][key] : start;
      return (
        `Term ${this.term + 1} of ${count}: ${exactly(term.x)} (${where}) · ${exactly(term.w)} = ` +
        `${briefly(term.product)}; the sum goes from ${exactly(earlier)} to ${exactly(term[key])}` +
        `${this.app.description.integer ? "" : ` (bits 0x${bitsOf(term[key])})`}.`
      );
    });
    const step = (name, to, label) =>
      button(name, () => this.go(to), {
        disabled: to < 0 || to >= count || to === this.term,
        "aria-label": label,
        "data-key": label,
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
        step("last", count - 1, "last term"),
        at ? button("go to this x", () => this.app.pick(tensor, at)) : null,
        button("set this w to 0", () => this.app.editWeight(weight, flat(shape, weightAt), 0)),
      ),
      make("p", { className: "step", "aria-live": "polite" }, told),
    );
  }

  go(term) {
    this.term = term;
    this.refresh();
  }

  link(tensor, at) {
    return button(
      `[${at.join(",")}]`,
      (event) => {
        event.stopPropagation();
        this.app.pick(tensor, at);
      },
      { className: "link", title: `${tensor}: take this number apart` },
    );
  }

  weightLink({ weight, weightAt }) {
    return button(
      `[${weightAt.join(",")}]`,
      (event) => {
        event.stopPropagation();
        this.app.showWeight(weight, weightAt);
      },
      { className: "link", title: `${weight}: show and change this weight` },
    );
  }

  candidates(parts, texts) {
    const { terms, choice } = parts();
    const rows = terms.map(({ tensor, at }, k) =>
      tableRow(
        [
          this.link(tensor, at),
          { n: texts.text(() => exactly(parts().terms[k].x)) },
          choice >= 0
            ? k === choice
              ? "the largest (the first of equal ones)"
              : ""
            : { n: texts.text(() => exactly(parts().terms[k].seq)) },
        ],
        { className: k === choice ? "current" : "" },
      ),
    );
    return table(["x, from", { n: "x" }, choice >= 0 ? "" : { n: "running sum" }], rows);
  }

  // What is done besides: both arithmetics side by side where they differ.
  steps(parts, texts) {
    const { steps } = parts();
    const both = steps.some(({ value, fused }) => fused !== undefined && !Object.is(value, fused));
    const of = { seq: ({ value }) => value, seq_fma: ({ value, fused }) => fused ?? value };
    const shown = both ? ["seq", "seq_fma"] : [this.app.network.arithmetic];
    const rows = steps.map((step, k) =>
      tableRow([
        [
          texts.text(() => parts().steps[k].text),
          " ",
          step.tensor ? this.link(step.tensor, step.at) : "",
          step.weight ? this.weightLink(step) : "",
          step.addend === undefined ? "" : texts.text(() => ` ${exactly(parts().steps[k].addend)}`),
        ],
        ...shown.map((arithmetic) => ({ n: texts.text(() => exactly(of[arithmetic](parts().steps[k]))) })),
      ]),
    );
    return table(both ? ["", ...shown.map((name) => ({ n: `in ${name}` }))] : [], rows);
  }
}

function integerSums() {
  return "Nothing is rounded; x is q minus the input's zero point.";
}
