// The head of the page: which network it is, what can be done here, and which arithmetic is used.

import { button, make, rebuild } from "./dom.js";
import { counted } from "./format.js";
import { ARITHMETICS } from "./network.js";

const SAMPLED =
  "This network is too large to be held whole: the page shows samples of its weights and of every layer's output, " +
  "computed beforehand, with figures over the whole of them. Nothing is recomputed here.";

function introduction({ description }) {
  const look = "A U-Net. Choose a layer in the drawing to see what it computes and costs";
  if (description.sampled) return `${look}.`;
  const kind = description.integer ? "every integer" : "every number";
  return `${look}; click a value of it to take that number apart, product by product, back to the input. Change the
    input${description.integer ? " or a weight" : ", a weight, a skip or a pooling"}: ${kind} of the network is computed anew in this
    page, exactly as npunet defines it, and what changed is marked.`;
}

// app: see main.js
export function showHeader(app) {
  const { description, network } = app;
  const took = app.took && `; last: ${counted(app.took[0])} layers computed in ${app.took[1].toFixed(1)} ms`;
  const doing = app.progress ?? took ?? "";
  const key = `${network.arithmetic} ${app.isEdited()}`;
  if (app.headerKey === key) {
    app.doing.textContent = doing;
    return;
  }
  app.headerKey = key;
  app.doing = make("span", {}, doing);
  rebuild(
    document.getElementById("header"),
    make("h1", {}, description.title),
    make("p", {}, totals(description), app.doing),
    make("p", { className: "intro" }, introduction(app)),
    description.sampled ? make("p", { className: "was" }, SAMPLED) : controls(app),
  );
}

function totals({ nodes, integer, level }) {
  const [parameters, macs] = ["parameters", "macs"].map((key) => nodes.reduce((sum, node) => sum + node[key], 0));
  const words = { trained: "trained (every layer by itself)", deploy: "deploy (batch norm folded)" };
  return (
    `${counted(parameters)} parameters, ${counted(macs)} multiply-accumulates (MACs), ${nodes.length} layers; ` +
    `level: ${integer ? level : words[level]}`
  );
}

function controls(app) {
  const { network } = app;
  const choose = (name) => {
    network.arithmetic = name;
    app.schedule();
  };
  const arithmetics = ARITHMETICS.map((name) =>
    button(name, () => choose(name), { "aria-pressed": String(network.arithmetic === name) }),
  );
  return make(
    "div",
    { className: "controls" },
    ...(app.description.integer ? [] : [make("span", {}, "Arithmetic"), ...arithmetics]),
    app.isEdited() ? button("reset all changes", app.reset, { className: "strong" }) : null,
  );
}
