// What a layer computes, typeset, with this layer's numbers in it.

import { math } from "./dom.js";

const i = (name) => math("mi", name);
const n = (value) => math("mn", String(value));
const o = (sign) => math("mo", sign);
const row = (...parts) => math("mrow", ...parts);
const list = (parts) => parts.flatMap((part, k) => (k ? [o(","), part] : [part]));
const at = (name, ...indices) => row(i(name), o("["), ...list(indices), o("]"));
const sum = (index, last) => math("munderover", sigma(), row(i(index), o("="), n(0)), n(last));
const sigma = () => {
  const sign = o("∑");
  sign.setAttribute("class", "sigma");
  return sign;
};
const fl = (...parts) => row(i("fl"), o("("), ...parts, o(")"));

// i*stride + k*dilation - pad, with what is 1 or 0 left out
function reads(index, stride, tap, dilation, pad, taps) {
  const parts = stride === 1 ? [i(index)] : [n(stride), i(index)];
  if (taps > 1) parts.push(o("+"), ...(dilation === 1 ? [i(tap)] : [n(dilation), i(tap)]));
  if (pad) parts.push(o("−"), n(pad));
  return row(...parts);
}

function tapSums(KH, KW) {
  return [KH > 1 ? sum("ky", KH - 1) : null, KW > 1 ? sum("kx", KW - 1) : null].filter(Boolean);
}

function convolution(node, weights, inputs, separate) {
  const [KH, KW, C] = weights[0].shape;
  const { stride, dilation, pads } = node.attrs;
  const place = [
    reads("i", stride[0], "ky", dilation[0], pads[0][0], KH),
    reads("j", stride[1], "kx", dilation[1], pads[1][0], KW),
  ];
  const tap = [KH > 1 ? i("ky") : n(0), KW > 1 ? i("kx") : n(0)];
  const bias = weights.at(-1).shape.length === 1 ? [o("+"), at("b", i("f"))] : [];
  if (separate === "depthwise") {
    return [
      row(
        at("y", i("i"), i("j"), i("c")),
        o("="),
        ...tapSums(KH, KW),
        at("x", ...place, i("c")),
        o("⋅"),
        at("w", ...tap, i("c"), n(0)),
        ...(node.op === "depthwise_conv2d" ? bias : []),
      ),
    ];
  }
  return [
    row(
      at("y", i("i"), i("j"), i("f")),
      o("="),
      ...tapSums(KH, KW),
      sum("c", C - 1),
      at("x", ...place, i("c")),
      o("⋅"),
      at("w", ...tap, i("c"), i("f")),
      ...bias,
    ),
  ];
}

function separable(node, weights) {
  const [depthwise, pointwise, ...rest] = weights;
  const unit = {
    stride: [1, 1],
    dilation: [1, 1],
    pads: [
      [0, 0],
      [0, 0],
    ],
  };
  const h = convolution({ op: "", attrs: node.attrs }, [depthwise], [], "depthwise")[0];
  const y = convolution({ op: "", attrs: unit }, [pointwise, ...rest], [], "")[0];
  h.firstChild.firstChild.textContent = "h";
  for (const name of y.querySelectorAll("mi")) if (name.textContent === "x") name.textContent = "h";
  return [h, y];
}

function pooling(node, weights, inputs, operator) {
  const { window, stride, pads } = node.attrs;
  const place = [
    reads("i", stride[0], "ky", 1, pads[0][0], window[0]),
    reads("j", stride[1], "kx", 1, pads[1][0], window[1]),
  ];
  const under = list(
    [window[0] > 1 ? row(i("ky"), o("<"), n(window[0])) : null, row(i("kx"), o("<"), n(window[1]))].filter(Boolean),
  );
  const name = math("munder", i(operator), row(...under));
  return [row(at("y", i("i"), i("j"), i("c")), o("="), name, at("x", ...place, i("c")))];
}

function cases(...branches) {
  const table = math(
    "mtable",
    branches.map(([value, when]) => math("mtr", math("mtd", value), math("mtd", math("mtext", "  "), when))),
  );
  return row(i("y"), o("="), o("{"), table);
}

const positive = () => row(i("x"), o(">"), n(0));
const otherwise = () => math("mtext", "otherwise");
const expm1 = () => row(math("msup", i("e"), i("x")), o("−"), n(1));
const y = () => row(i("y"), o("="));

const FORMULAS = {
  conv2d: (node, weights) => convolution(node, weights, [], ""),
  depthwise_conv2d: (node, weights) => convolution(node, weights, [], "depthwise"),
  separable_conv2d: separable,
  max_pool2d: (node, weights, inputs) => pooling(node, weights, inputs, "max"),
  avg_pool2d: (node, weights, inputs) => pooling(node, weights, inputs, "mean"),
  upsample_nearest2d: ({ attrs: { factor } }) => [
    row(
      at("y", i("i"), i("j"), i("c")),
      o("="),
      at("x", ...factor.map((f, k) => (f === 1 ? i("ij"[k]) : row(o("⌊"), i("ij"[k]), o("/"), n(f), o("⌋")))), i("c")),
    ),
  ],
  batch_norm_inference: ({ attrs: { eps } }) => [
    row(i("inv"), o("="), fl(i("γ"), o("⋅"), fl(n(1), o("/"), fl(math("msqrt", fl(i("σ²"), o("+"), n(eps))))))),
    row(i("shift"), o("="), fl(i("β"), o("−"), fl(i("μ"), o("⋅"), i("inv")))),
    row(y(), fl(fl(i("x"), o("⋅"), i("inv")), o("+"), i("shift"))),
  ],
  layer_norm: ({ attrs: { eps } }) => [
    row(i("inv"), o("="), fl(math("mfrac", n(1), math("msqrt", row(i("σ²"), o("+"), n(eps)))))),
    row(y(), fl(fl(fl(i("x"), o("−"), i("μ")), o("⋅"), fl(i("inv"), o("⋅"), i("γ"))), o("+"), i("β"))),
  ],
  relu6: () => [row(y(), i("min"), o("("), i("max"), o("("), i("x"), o(","), n(0), o(")"), o(","), n(6), o(")"))],
  relu: () => [row(y(), i("max"), o("("), i("x"), o(","), n(0), o(")"))],
  leaky_relu: () => [cases([i("x"), positive()], [fl(n(0.2), o("⋅"), i("x")), otherwise()])],
  elu: () => [cases([i("x"), positive()], [expm1(), otherwise()])],
  selu: () => [
    cases([fl(n(1.0507), o("⋅"), i("x")), positive()], [fl(n(1.7581), o("⋅"), o("("), expm1(), o(")")), otherwise()]),
  ],
  concat: (node, weights, inputs) => [
    row(
      at("y", i("i"), i("j"), i("c")),
      o("="),
      ...inputs.flatMap(({ shape }, k) => [
        ...(k ? [o("⊕")] : []),
        row(at("ab"[k] ?? "t", i("i"), i("j"), row(n(0), o("…"), n(shape[2] - 1)))),
      ]),
    ),
  ],
  add: () => [row(y(), fl(i("a"), o("+"), i("b")))],
  dropout_inference: () => [row(y(), i("x"))],
  softmax: ({ shape }) => [
    row(
      at("y", i("k")),
      o("="),
      math(
        "mfrac",
        math("msup", i("e"), row(at("x", i("k")), o("−"), i("m"))),
        row(sum("l", shape[2] - 1), math("msup", i("e"), row(at("x", i("l")), o("−"), i("m")))),
      ),
      o(","),
      i("m"),
      o("="),
      i("max"),
      i("x"),
    ),
  ],
};

// The lines of a layer's formula, each a <math> element.
export function formulaOf(node, operator, weights, inputs) {
  return FORMULAS[operator](node, weights, inputs).map((line) => {
    const element = math("math", line);
    element.setAttribute("display", "block");
    return element;
  });
}
