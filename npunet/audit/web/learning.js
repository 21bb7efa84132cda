// Gradients in the page: of a layer, of one number, and a training step that uses them.

import { button, details, make, rebuild, table, tableRow } from "./dom.js";
import { briefly, exactly } from "./format.js";
import { differentiate, hasGradient, sharesOf } from "./gradients.js";
import { LOSSES } from "./losses.js";
import { flat } from "./apart.js";
import { drawMap, drawSignal, rangeOf, widened } from "./pictures.js";

const NAMES = { sparse_categorical_crossentropy: "cross-entropy", categorical_focal: "focal", dice: "Dice" };
const SHARES = 40; // shares that are listed
const CHANNELS = 12;

export class Learning {
  constructor(root, app) {
    this.app = app;
    this.rate = 0.1;
    this.losses = [];
    this.loss = Object.keys(LOSSES)[0];
    this.number = null; // { layer, index } that is differentiated instead of the loss
    this.open = false;
    this.body = make("div", {});
    this.box = details("Loss, gradients, and a training step", false, this.body);
    this.box.addEventListener("toggle", () => {
      this.open = this.box.open;
      this.refresh();
      app.refresh();
    });
    root.append(this.box);
  }

  // The gradients of the network as it is now; null while the panel is closed.
  now() {
    if (!this.open) return null;
    const { network } = this.app;
    const key = `${network.version} ${this.loss} ${JSON.stringify(this.number)}`;
    if (this.key !== key) {
      this.key = key;
      const { loss, number } = this;
      this.found = differentiate(network, this.app.description.output, this.labels(), { loss, number });
    }
    return this.found;
  }

  // What the network should say: the given classes, else what it said before any change.
  labels() {
    const { description } = this.app;
    if (description.labels) return description.labels;
    this.first ??= differentiate(this.app.network, description.output, null).labels;
    return this.first;
  }

  refresh() {
    const found = this.now();
    if (!found) return;
    const rate = make("input", {
      type: "number",
      step: "any",
      value: this.rate,
      onchange: () => {
        this.rate = Number(rate.value);
      },
    });
    const step = (text, count) => button(text, () => this.train(count), { "data-key": text });
    const from = this.app.description.labels
      ? "the classes given with the input"
      : "the classes that the network gave before any change";
    const told = this.number
      ? make(
          "p",
          {},
          `Differentiated is the number ${this.number.layer}[${this.number.index.join(", ")}] itself: `,
          make("strong", {}, String(Number(found.loss.toPrecision(9)))),
          ". Gradients show what moves it.",
        )
      : make(
          "p",
          {},
          `The loss against ${from}, in float64, batch norm by its stored statistics, is `,
          make("strong", {}, String(Number(found.loss.toPrecision(9)))),
          ".",
        );
    const chosen = this.app.state;
    rebuild(
      this.body,
      told,
      make(
        "div",
        { className: "controls" },
        "What is differentiated:",
        button("the loss", () => this.differentiate(null), {
          "data-key": "the loss",
          "aria-pressed": String(!this.number),
        }),
        this.chooser(),
        button(
          "the number that is taken apart",
          () => this.differentiate(hasGradient(chosen.layer) ? { layer: chosen.layer, index: chosen.index } : null),
          { "data-key": "the number", "aria-pressed": String(Boolean(this.number)) },
        ),
      ),
      make(
        "div",
        { className: "controls" },
        make("label", { className: "field" }, "learning rate ", rate),
        step("one training step", 1),
        step("20 steps", 20),
        this.losses.length ? ` losses: ${this.losses.slice(-6).map(briefly).join(", ")}` : "",
      ),
      make(
        "p",
        { className: "small" },
        "A step sets every weight w to w − rate · d loss / d w, rounded to float32. While this panel is open, " +
          "layers and numbers show their gradients too.",
      ),
    );
  }

  // Which loss it is.
  chooser() {
    const choose = make(
      "select",
      {
        "aria-label": "which loss",
        onchange: () => {
          this.loss = choose.value;
          this.losses = [];
          this.differentiate(null);
        },
      },
      Object.entries(NAMES).map(([value, name]) => make("option", { value, selected: value === this.loss }, name)),
    );
    return choose;
  }

  differentiate(number) {
    this.number = number;
    this.app.refresh();
  }

  train(count) {
    const { app } = this;
    for (let k = 0; k < count; k++) {
      const found = differentiate(app.network, app.description.output, this.labels(), { loss: this.loss });
      this.losses.push(found.loss);
      for (const [name, { data }] of found.dweights) {
        const weight = app.network.weights.get(name).data;
        app.network.setWeights(
          name,
          weight.map((value, at) => value - this.rate * data[at]),
        );
      }
    }
    app.edited();
  }

  // For the layer panel: the gradient of its output, and of its weights.
  ofLayer(node) {
    const found = this.now();
    if (!found) return null;
    const {
      data,
      shape: [H, W, C],
    } = found.dtrace.get(node.name);
    const range = rangeOf(data);
    const largest = Math.max(-range[0], range[1]);
    const figures = Array.from({ length: Math.min(C, CHANNELS) }, (_, channel) => {
      const canvas = make("canvas", H === 1 ? { width: 320, height: 72 } : {});
      if (H === 1) drawSignal(canvas, { data, channels: C, channel, range: widened(range) });
      else drawMap(canvas, { data, shape: [H, W, C], channel, largest, size: 128 });
      return make(
        "figure",
        {},
        canvas,
        make("figcaption", {}, `${channel}: ${rangeOf(data, channel, C).map(briefly).join(" … ")}`),
      );
    });
    const norms = node.weights
      .filter((name) => found.dweights.has(name))
      .map((name) =>
        make(
          "li",
          {},
          `${name}: largest ${briefly(Math.max(...rangeOf(found.dweights.get(name).data).map(Math.abs)))}, length ` +
            `${briefly(Math.hypot(...found.dweights.get(name).data))}`,
        ),
      );
    return details(
      "Gradient of the loss for this layer's output",
      true,
      make(
        "p",
        { className: "stats" },
        `d loss / d y: ${range.map(briefly).join(" to ")}${C > CHANNELS ? `; the first ${CHANNELS} of ${C} channels` : ""}`,
      ),
      make("div", { className: H > 1 ? "grid maps" : "grid" }, figures),
      norms.length ? make("div", {}, make("p", {}, "For its weights:"), make("ul", {}, norms)) : null,
    );
  }

  // For the number panel: the gradient of one number, and which numbers hand how much back.
  ofNumber(layer, index) {
    const found = hasGradient(layer) ? this.now() : null;
    if (!found) return null;
    const { data, shape } = found.dtrace.get(layer);
    const shares = sharesOf(this.app.network, found, layer, index);
    const listed = shares.toSorted((a, b) => Math.abs(b.dy * b.slope) - Math.abs(a.dy * a.slope)).slice(0, SHARES);
    return make(
      "div",
      {},
      make("h4", {}, "Its gradient"),
      make(
        "p",
        {},
        "d loss / d this number = ",
        make("strong", {}, exactly(data[flat(shape, index)])),
        shares.length
          ? `, the sum of what ${shares.length} number${shares.length > 1 ? "s" : ""} hand${shares.length > 1 ? "" : "s"} back`
          : ": it is the output, whose gradient is the loss's own",
        shares.length > SHARES ? `; the ${SHARES} largest:` : "",
      ),
      listed.length
        ? table(
            ["from", { n: "its gradient" }, { n: "× slope" }, { n: "= share" }],
            listed.map((share) =>
              tableRow([
                button(`${share.tensor}[${share.at.join(", ")}]`, () => this.app.pick(share.tensor, share.at), {
                  className: "link",
                }),
                ...[share.dy, share.slope, share.dy * share.slope].map((value) => ({ n: briefly(value) })),
              ]),
            ),
          )
        : null,
    );
  }
}
