"""Float networks as .tflite of float32: LiteRT's reference kernels give what npunet gives."""

import numpy as np
import pytest
from integer_judges import CASES, calibration, float_model, litert

from npunet.formats import tflite

pytest.importorskip("tflite", reason="writing .tflite needs the extra npunet[tflite]")
NEAR = 2e-5  # of a tensor's largest magnitude: float32 sums in another order, as between Keras' own backends


@pytest.mark.parametrize("name", list(CASES))
def test_every_layer_of_every_stored_network(name, tmp_path):
    model, x = float_model(name), calibration(name)[:2]
    path = tmp_path / "m.tflite"
    tflite.write_float(path, model.graph, model.weights.read_only, model.input_shape, name=model.params.name)
    activations = {block.get("activation") for block in CASES[name]["params"]["blocks"]}
    elu = activations & {"elu", "selu"}  # which the reference kernels lack
    judged = litert(path.read_bytes(), x, "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if elu else "BUILTIN_REF")
    y = model.predict(x, backend="numpy")
    output = tflite.read_flat(path.read_bytes()).outputs[0]
    named = tflite.read_flat(path.read_bytes()).tensors[output].name
    expected = {**model.trace(x, level="deploy"), named: y}
    checked = 0
    for layer, values in judged.items():
        if layer in expected:
            reference = expected[layer].reshape(values.shape)
            assert np.abs(values - reference).max() <= NEAR * max(1e-3, np.abs(reference).max()), layer
            checked += 1
    assert checked >= len(model.graph.nodes) // 3
