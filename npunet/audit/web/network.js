// A network that recomputes only what a change reaches.

import { INTEGERS_MADE_OF, INTEGER_OPERATORS } from "./integers.js";
import { MADE_OF, conv2d, depthwiseConv2d, separableConv2d } from "./convolution.js";
import { batchNormInference, layerNorm } from "./norms.js";
import {
  add,
  concat,
  dropoutInference,
  elu,
  leakyRelu,
  relu,
  relu6,
  selu,
  softmax,
  upsampleNearest2d,
} from "./pointwise.js";
import { avgPool2d, maxPool2d } from "./pooling.js";

export const OPERATORS = {
  conv2d,
  depthwise_conv2d: depthwiseConv2d,
  separable_conv2d: separableConv2d,
  max_pool2d: maxPool2d,
  avg_pool2d: avgPool2d,
  upsample_nearest2d: upsampleNearest2d,
  batch_norm_inference: batchNormInference,
  layer_norm: layerNorm,
  relu6,
  relu,
  leaky_relu: leakyRelu,
  elu,
  selu,
  concat,
  add,
  dropout_inference: dropoutInference,
  softmax,
};

// The JavaScript of an operator, with the functions that it is made of, as text.
export function sourceOf(op, isInteger) {
  const functions = isInteger ? INTEGERS_MADE_OF[op] : (MADE_OF[op] ?? [OPERATORS[op]]);
  return functions.map(String).join("\n\n");
}

export const ARITHMETICS = ["seq", "seq_fma"];
const TIME_LIMIT = 12; // milliseconds of work before the page may draw

// Let the browser draw and answer: resolves with its next task. (A timer would wait for 4 ms each time.)
function pause() {
  return new Promise((resume) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resume();
    };
    port2.postMessage(null);
  });
}

// How far two arrays of one shape are apart, at the most; NaN where one of them is and the other is not; 0 without one.
export function largestDifference(data, before = data) {
  let most = 0;
  for (let k = 0; k < data.length; k++) {
    if (!Object.is(data[k], before[k])) most = Math.max(most, Math.abs(data[k] - before[k]));
  }
  return most;
}

export class Network {
  // nodes: [{ name, op, inputs, weights, attrs, shape }] in an order in which they can run; weights: name -> tensor
  constructor({ nodes, input, inputShape, integer }, weights) {
    this.isInteger = Boolean(integer);
    this.operators = integer ? INTEGER_OPERATORS : OPERATORS;
    this.nodes = nodes;
    this.byName = new Map(nodes.map((node) => [node.name, node]));
    this.input = input;
    this.weights = new Map(weights); // a change makes a new array, so that networks can share them
    this.tensors = new Map([
      [input, { data: new Float32Array(inputShape.reduce((a, b) => a * b)), shape: inputShape }],
    ]);
    this.readers = new Map([[input, []], ...nodes.map((node) => [node.name, []])]);
    for (const node of nodes) for (const name of node.inputs) this.readers.get(name).push(node);
    this.stale = new Set(nodes);
    this.changes = new Map(); // node name -> { zeroed: input index, op, phase }
    this.arithmeticInUse = "seq_fma";
    this.running = null;
    this.version = 0; // grows with every change
  }

  // Hold samples of tensors that were computed elsewhere; nothing can be recomputed then.
  hold(tensors) {
    for (const name of this.readers.keys()) this.tensors.set(name, tensors.get(name));
    this.stale.clear();
    this.isSampled = true;
  }

  get arithmetic() {
    return this.arithmeticInUse;
  }

  set arithmetic(name) {
    if (!ARITHMETICS.includes(name)) throw new Error(`arithmetic "${name}" is not one of ${ARITHMETICS.join(", ")}`);
    if (name !== this.arithmeticInUse) for (const node of this.nodes) this.stale.add(node);
    this.arithmeticInUse = name;
  }

  setInput(values) {
    this.refuseIfSampled();
    const { data, shape } = this.tensors.get(this.input);
    if (values.length !== data.length) {
      throw new Error(`the input takes ${data.length} values (${shape.join(" x ")}), not ${values.length}`);
    }
    this.tensors.set(this.input, { data: Float32Array.from(values), shape });
    this.touch(this.input);
  }

  setWeight(name, index, value) {
    this.setWeights(name, this.weights.get(name).data.with(index, value));
  }

  // All values of one weight array at once.
  setWeights(name, data) {
    this.weights.set(name, { data, shape: this.weights.get(name).shape });
    for (const node of this.nodes) if (node.weights.includes(name)) this.markStale(node);
  }

  // What a node does otherwise than the network says: { zeroed, op, phase }, or null for nothing.
  setChange(name, change) {
    if (change) this.changes.set(name, change);
    else this.changes.delete(name);
    this.markStale(this.byName.get(name));
  }

  // Become what another network of the same nodes is.
  restore(other) {
    this.weights = new Map(other.weights);
    this.changes.clear();
    this.share(other);
    this.version++;
  }

  // Take over what another network of the same nodes and weights has computed.
  share(other) {
    this.tensors = new Map(other.tensors);
    this.stale = new Set(other.stale);
    this.arithmeticInUse = other.arithmeticInUse;
  }

  // The shape of a layer's output, or of the input, computed or not; undefined for another name.
  shapeOf(name) {
    return (this.tensors.get(name) ?? this.byName.get(name))?.shape;
  }

  touch(name) {
    for (const node of this.readers.get(name)) this.markStale(node);
  }

  markStale(node) {
    this.version++;
    if (this.stale.has(node)) return;
    this.stale.add(node);
    this.touch(node.name);
  }

  // The tensors that a node reads, with the ones that are switched off as zeros.
  operands(node) {
    const zeroed = this.changes.get(node.name)?.zeroed;
    return node.inputs.map((name, k) => {
      const tensor = this.tensors.get(name);
      return k === zeroed ? { data: new Float32Array(tensor.data.length), shape: tensor.shape } : tensor;
    });
  }

  operatorOf(node) {
    return this.changes.get(node.name)?.op ?? node.op;
  }

  attrsOf(node) {
    return { ...node.attrs, phase: this.changes.get(node.name)?.phase ?? 0 };
  }

  runNode(node) {
    const weights = node.weights.map((name) => this.weights.get(name));
    const run = this.operators[this.operatorOf(node)];
    const data = run(this.operands(node), weights, this.attrsOf(node), node.shape, this.arithmeticInUse);
    this.tensors.set(node.name, { data, shape: node.shape });
    this.stale.delete(node);
  }

  // Bring everything up to date, letting the page draw in between; resolves when nothing is left to compute.
  settle() {
    this.running ??= this.runStale().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  async runStale() {
    let since = performance.now();
    for (let node = this.firstStale(); node; node = this.firstStale()) {
      this.runNode(node);
      if (performance.now() - since > TIME_LIMIT) {
        this.progress?.(this.nodes.length - this.stale.size);
        await pause();
        since = performance.now();
      }
    }
  }

  refuseIfSampled() {
    if (this.isSampled) throw new Error("this page holds samples of a network that is too large to be recomputed here");
  }

  firstStale() {
    return this.stale.size ? this.nodes.find((node) => this.stale.has(node)) : undefined;
  }

  // Every layer's output by name, in execution order.
  async trace() {
    this.refuseIfSampled();
    while (this.stale.size) await this.settle();
    return Object.fromEntries(this.nodes.map((node) => [node.name, this.tensors.get(node.name).data.slice()]));
  }
}
