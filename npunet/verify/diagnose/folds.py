"""A layer's weights as other ways to fold batch norm give them: what a port may have folded by another rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from npunet.deploy import deploy
from npunet.golden.layer_run import split_bias
from npunet.golden.reader import RUN_ERRORS, Bundle
from npunet.graph import Graph, Node
from npunet.model import UNet
from npunet.ops.norm import batch_norm_scale_shift
from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.normal import Norm, norm_of

Fold = tuple[np.ndarray, np.ndarray | None]


def other_folds(bundle: Bundle, node: Node) -> dict[str, Fold]:
    """The layer's kernel and bias as batch norm folded by another rule gives them; empty where nothing was folded."""
    record = next(layer for layer in bundle.layers.values() if layer["name"] == node.name)
    if not record["folded"] or bundle.manifest["profile"]["level"] != "deploy":
        return {}
    try:
        model = UNet.load(bundle.root / bundle.manifest["model"]["file"])
        trained = model.sizes.graph(tuple(bundle.manifest["model"]["input_shape"][:2]))
        return _folds(bundle.weights, trained, model.weights, node, record["folded"][-1])
    except (OSError, StopIteration, *RUN_ERRORS):
        return {}  # a model that does not fit the bundle: there is one kind of hypothesis less


def folded_norms(bundle: Bundle, node: Node) -> tuple[np.ndarray, np.ndarray | None, Norm, dict[str, Norm]] | None:
    """A layer's kernel and bias as trained, the batch norm folded into it, and others as wide; None without one."""
    record = next(layer for layer in bundle.layers.values() if layer["name"] == node.name)
    if not record["folded"] or bundle.manifest["profile"]["level"] != "deploy":
        return None
    try:
        model = UNet.load(bundle.root / bundle.manifest["model"]["file"])
        trained = model.sizes.graph(tuple(bundle.manifest["model"]["input_shape"][:2]))
        norms = {
            n.name: norm_of([model.weights[name] for name in n.weights], n.attrs["eps"])
            for n in trained
            if n.op == "batch_norm_inference" and model.weights[n.weights[0]].shape[-1] == node.shape[2]
        }
        kernels, bias = split_bias(next(n for n in trained if n.name == node.name), model.weights)
        return model.weights[kernels[-1]], bias, norms.pop(record["folded"][-1]), norms
    except (OSError, StopIteration, *RUN_ERRORS):
        return None


def _folds(
    own: Mapping[str, np.ndarray], trained: Graph, weights: Mapping[str, np.ndarray], node: Node, folded: str
) -> dict[str, Fold]:
    folds = {}
    for words, eps in (
        ("batch norm folded without eps", 0.0),
        ("batch norm folded with eps 1e-5", 1e-5),
        ("batch norm folded with eps 1e-2", 1e-2),
    ):
        folds[words] = _folded(trained, weights, node, partial(_with_eps, eps=eps))
    norm = next(n for n in trained if n.name == folded)
    kernels, bias = split_bias(next(n for n in trained if n.name == node.name), weights)
    plain = np.zeros(node.shape[2], np.float32) if bias is None else bias
    folds["batch norm not folded in at all"] = (weights[kernels[-1]], plain)
    gamma, beta, mean, var = (weights[name].astype(np.float64) for name in norm.weights)
    scale = gamma / np.sqrt(var + norm.attrs["eps"])
    folds["batch norm folded in float64, rounded once"] = (
        (weights[kernels[-1]] * scale).astype(np.float32),
        (beta + (plain - mean) * scale).astype(np.float32),
    )
    one, none = np.ones_like(gamma), np.zeros_like(mean)
    for words, (g, b, m, v) in {
        "batch norm folded with mean 0 and variance 1 (statistics never loaded)": (gamma, beta, none, one),
        "batch norm folded without gamma": (one, beta, mean, var),
        "batch norm folded without beta": (gamma, none, mean, var),
        "batch norm folded without the mean": (gamma, beta, none, var),
        "batch norm folded without the variance": (gamma, beta, mean, one),
        "batch norm folded with the variance taken as the deviation": (gamma, beta, mean, var * var),
    }.items():
        folds[words] = _fold32(weights[kernels[-1]], plain, (g, b, m, v), norm.attrs["eps"])
    for other in trained:
        if other.op == norm.op and other is not norm and weights[other.weights[0]].shape == gamma.shape:
            stranger = [weights[name].astype(np.float64) for name in other.weights]
            words = f"batch norm of {other.name} folded in"
            folds[words] = _fold32(weights[kernels[-1]], plain, stranger, norm.attrs["eps"])
    folds["batch norm folded into the kernel alone"] = (own[node.weights[-2]], plain)
    folds["batch norm folded into the bias alone"] = (weights[kernels[-1]], own[node.weights[-1]])
    return folds


def _with_eps(norm: Node, eps: float) -> Node:
    return replace(norm, attrs={**norm.attrs, "eps": eps})


def _folded(
    graph: Graph, weights: Mapping[str, np.ndarray], node: Node, change: Callable[[Node], Node]
) -> Fold:
    nodes = tuple(change(n) if n.op == "batch_norm_inference" else n for n in graph)
    with np.errstate(all="ignore"):
        deployed, lowered = deploy(replace(graph, nodes=nodes), weights)
    kernels, bias = split_bias(deployed[node.name], lowered)
    return lowered[kernels[-1]], bias


def _fold32(kernel: np.ndarray, bias: np.ndarray, parameters: Sequence[np.ndarray], eps: float) -> Fold:
    """Batch norm folded into a kernel by the declared formula, in float32."""
    with np.errstate(all="ignore"):
        scale, shift = batch_norm_scale_shift(*(value.astype(np.float32) for value in parameters), eps=eps)
        return kernel * scale, shift + bias * scale


def kin_of(bundle: Bundle, node: Node) -> dict[str, Fold]:
    """Kernel and bias of every other layer whose weights would fit in the place of this one's."""
    own = [bundle.weights[name] for name in node.weights]
    found = {}
    for other in bundle.graph:
        theirs = [bundle.weights[name] for name in other.weights]
        fits = [value.shape for value in theirs] == [value.shape for value in own]
        if other.op == node.op in CONVOLUTIONS and other is not node and fits:
            kernels, bias = split_bias(other, bundle.weights)
            found[f"the weights of {other.name} taken"] = (bundle.weights[kernels[-1]], bias)
    return found
