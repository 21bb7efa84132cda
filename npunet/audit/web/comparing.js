// What is laid over the drawn network: a verification's findings, or another model's weights that can be put in.

import { button, make, rebuild, table, tableRow } from "./dom.js";
import { briefly, counted } from "./format.js";
import { largestDifference } from "./network.js";

export class Comparing {
  // tensors: everything that the page holds; another model's weights stand in it as "other <name>"
  constructor(root, app, tensors) {
    this.app = app;
    this.found = app.description.comparison;
    this.tensors = tensors;
    this.body = make("div", {});
    root.append(make("h2", {}, `Compared with ${this.found.title}`), this.body);
  }

  // layer name -> status, of a verification
  statuses() {
    return this.found.verdict
      ? new Map(Object.entries(this.found.layers).map(([name, { status }]) => [name, status]))
      : null;
  }

  refresh() {
    if (this.found.verdict) rebuild(this.body, ...this.verification());
    else rebuild(this.body, ...this.model());
  }

  link(name) {
    return button(name, () => this.app.select(name), { className: "link" });
  }

  verification() {
    const { verdict, first, layers } = this.found;
    const entries = Object.entries(layers);
    const most = Math.max(1, ...entries.map(([, { ulp }]) => Math.log2(1 + ulp)));
    const wrong = entries.filter(([, { status }]) => status !== "PASS");
    return [
      make(
        "p",
        {},
        make("strong", { className: `status-${verdict}` }, verdict),
        ...(first ? ["; first wrong layer: ", this.link(first)] : []),
        `; ${counted(wrong.length)} of ${counted(entries.length)} layers are not PASS.`,
      ),
      table(
        ["layer", "", "error along the network (log of ULP)", ""],
        (wrong.length ? wrong : entries).map(([name, { status, told, ulp }]) =>
          tableRow([
            this.app.network.byName.has(name) ? this.link(name) : name,
            make("span", { className: `status-${status}` }, status),
            make("i", { className: "bar", style: `width:${(160 * Math.log2(1 + ulp)) / most}px` }),
            told,
          ]),
        ),
      ),
    ];
  }

  model() {
    const { app } = this;
    const put = button(app.showsOther ? "put this model's own weights back" : "put its weights in", () => this.swap());
    if (!app.showsOther || !app.isEdited()) return [make("div", { className: "controls" }, put)];
    const apart = app.description.nodes
      .map((node) => [
        node.name,
        largestDifference(app.network.tensors.get(node.name).data, app.original.tensors.get(node.name)?.data),
      ])
      .filter(([, difference]) => difference > 0);
    return [
      make("div", { className: "controls" }, put),
      make(
        "p",
        {},
        apart.length ? "First layer that differs: " : "No layer differs.",
        ...(apart.length
          ? [
              this.link(apart[0][0]),
              ` (by up to ${briefly(apart[0][1])}); at the output by up to ` +
                `${briefly(apart.at(-1)[1])}. The U is coloured by how much each layer differs.`,
            ]
          : []),
      ),
    ];
  }

  swap() {
    const { app } = this;
    app.showsOther = !app.showsOther;
    for (const name of this.found.weights) {
      const { data } = app.showsOther ? this.tensors.get(`other ${name}`) : app.original.weights.get(name);
      app.network.setWeights(name, data);
    }
    app.edited();
  }
}
