// What can be switched in a layer: an input off, maximum for mean, one phase of upsampling for another.

import { make, numberField } from "./dom.js";

// Elements for one layer, or null where nothing can be switched. app: see main.js
export function changesOf(node, app) {
  if (app.description.sampled || app.description.integer) return null;
  const now = app.network.changes.get(node.name) ?? {};
  const set = (change) =>
    app.change(node.name, Object.values(change).some((value) => value !== undefined) ? change : null);
  const check = (label, on, change) => {
    const box = make("input", { type: "checkbox", checked: on, onchange: () => change(box.checked) });
    return make("label", { className: "field" }, box, ` ${label}`);
  };
  if (node.op === "concat" || node.op === "add") {
    return make(
      "div",
      { className: "controls change" },
      node.inputs.map((name, k) =>
        check(
          `use ${name}${k ? (node.op === "concat" ? " (the skip)" : " (the residual)") : ""}`,
          now.zeroed !== k,
          (on) => set({ zeroed: on ? undefined : k }),
        ),
      ),
    );
  }
  if (node.op === "max_pool2d") {
    return make(
      "div",
      { className: "controls change" },
      check("average instead of maximum", now.op === "avg_pool2d", (on) => set({ op: on ? "avg_pool2d" : undefined })),
    );
  }
  if (node.op === "upsample_nearest2d") {
    const most = Math.max(...node.attrs.factor) - 1;
    return make(
      "div",
      { className: "controls change" },
      numberField("repeat from phase", now.phase ?? 0, 0, most, (phase) => set({ phase: phase || undefined })),
      "0 is the network's; others shift which sample is repeated",
    );
  }
  return null;
}
