// Where the page begins: read what it holds, compute, show, and offer both to other scripts as window.npunet.

import { readPage } from "./data.js";
import { fma32 } from "./fma.js";
import { Network } from "./network.js";

const { description, tensors } = readPage();
const network = new Network(description, tensors);
network.setInput(tensors.get(description.input).data);

window.npunet = {
  level: description.level,
  fma32,
  ready: network.settle(),
  get arithmetic() {
    return network.arithmetic;
  },
  set arithmetic(name) {
    network.arithmetic = name;
  },
  async setInput(values) {
    network.setInput(values);
    await network.settle();
  },
  trace: () => network.trace(),
};
