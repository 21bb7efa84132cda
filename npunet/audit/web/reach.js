// Which part of the input, and of every layer between, one number depends on by the graph.

import { source } from "./pointwise.js";

// Map: layer -> [[first row, last row], [first column, last column]], for the number at [i, j] of `layer`.
export function reach(network, layer, [i, j]) {
  const found = new Map([
    [
      layer,
      [
        [i, i],
        [j, j],
      ],
    ],
  ]);
  for (const node of network.nodes.toReversed()) {
    const here = found.get(node.name);
    if (!here) continue;
    const { zeroed } = network.changes.get(node.name) ?? {};
    node.inputs.forEach((name, which) => {
      if (which === zeroed) return;
      const size = network.shapeOf(name);
      const read = here.map((interval, axis) => readBy(node, network.attrsOf(node), axis, interval, size[axis]));
      found.set(name, joined(found.get(name), read));
    });
  }
  return found;
}

// What an interval of a layer's outputs reads along one axis.
function readBy(node, attrs, axis, [first, last], size) {
  if (node.op === "layer_norm") return [0, size - 1];
  if (attrs.factor) return [first, last].map((at) => source(at, attrs.factor[axis], attrs.phase, size));
  if (!attrs.stride) return [first, last];
  const taps = attrs.window ? attrs.window[axis] : node.weightShapes[0][axis];
  const span = (taps - 1) * (attrs.dilation ? attrs.dilation[axis] : 1);
  const start = (at) => at * attrs.stride[axis] - attrs.pads[axis][0];
  return [Math.max(0, start(first)), Math.min(size - 1, start(last) + span)];
}

function joined(known, read) {
  return known ? known.map(([a, b], axis) => [Math.min(a, read[axis][0]), Math.max(b, read[axis][1])]) : read;
}

// In words, of a tensor of this shape.
export function reachText([rows, columns], [height]) {
  const span = ([first, last], one) => (first === last ? `${one} ${first}` : `${one}s ${first} to ${last}`);
  return height === 1 ? span(columns, "sample") : `${span(rows, "row")}, ${span(columns, "column")}`;
}
