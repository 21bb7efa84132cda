"""Gradients of intermediate layers, against what changing a layer's output does; names that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from npunet import UNet, run
from npunet.ops.table import LOSSES

BLOCK = {"filters": 3, "kernel": (2, 3), "pool": 3, "strides": 2, "depth": 2, "activation": "elu"}


def test_gradients_of_layers_are_what_complex_steps_give():
    model = UNet({"blocks": [BLOCK, {**BLOCK, "filters": 4}]}, (8, 12, 2), 3, seed=3, dtype="float64")
    random = np.random.default_rng(1)
    x, labels = random.standard_normal((2, 8, 12, 2)), random.integers(0, 3, (2, 8, 12))
    loss, _, _, layers = model.gradients(x, labels, training=False, layers=True)
    trace = model.trace(x)
    assert list(layers) == list(trace)
    for name in ("ENC1_D1_conv", "ENC2_add", "DEC1_D2_unpool", "NECK_conv"):
        direction = random.standard_normal(trace[name].shape)
        step = rest(model, x, name, trace[name] + 1e-30j * direction, labels).imag / 1e-30
        assert step == pytest.approx((layers[name] * direction).sum(), rel=1e-11)
    assert loss == pytest.approx(rest(model, x, "NECK_conv", trace["NECK_conv"] + 0j, labels).real, rel=1e-13)


def rest(model: UNet, x: np.ndarray, name: str, value: np.ndarray, labels: np.ndarray) -> complex:
    """The loss, with one layer's output put in by hand."""
    graph = model.sizes.graph(x.shape[1:3])
    values = {graph.input: x + 0j}
    for node in graph:
        values[node.name], _ = run.apply(node, run.operands(node, values, model.weights), "any")
        if node.name == name:
            values[name] = value
    return LOSSES["sparse_categorical_crossentropy"][0](values[graph.output], labels, from_logits=True)


def test_without_layers_three_results_as_before():
    model = UNet({"blocks": []}, (4, 4, 1), 2)
    assert len(model.gradients(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4), int))) == 3


def test_a_layer_that_is_not_there_names_its_neighbours():
    model = UNet({"blocks": [BLOCK]}, (4, 4, 1), 2)
    trace = model.trace(np.zeros((1, 4, 4, 1)))
    with pytest.raises(KeyError, match="nearest are ENC1_D1_conv"):
        trace["ENC1_D1_cnv"]
    *_, layers = model.gradients(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4), int), layers=True)
    with pytest.raises(KeyError, match="NECK_conv"):
        layers["NECK"]
