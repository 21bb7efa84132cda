"""Every layer of a golden bundle's network as ONNX Runtime computes it, in a form that `npunet verify` reads.

    python reference/dump_onnxruntime.py BUNDLE OUT.npz
    npunet verify BUNDLE OUT.npz --bounded
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime

from npunet import UNet
from npunet.formats.onnx import to_onnx
from npunet.golden import Bundle


def dump(folder: str, case: str | None = None) -> dict[str, np.ndarray]:
    """Outputs by layer name, (N, H, W, C), of the bundle's first network case."""
    bundle = Bundle(folder)
    case = case or next(key for key, found in bundle.cases.items() if found["scope"] == "network")
    model, x = UNet.load(bundle.root / bundle.manifest["model"]["file"]), bundle.tensor(case, "in")
    rank, (H, W, C) = model.sizes.rank, x.shape[1:]
    shape = (W, C) if rank == 1 else (H, W, C)
    described = to_onnx(model.sizes.graph((H, W)), model.weights, shape,
                        level=bundle.manifest["profile"]["level"])
    made = {name for node in described.graph.node for name in node.output}
    names = [layer["name"] for layer in bundle.layers.values() if layer["name"] in made]
    have = {value.name for value in described.graph.output}
    described.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in have)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(described.SerializeToString(), options, ["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    values = session.run(names, {given: x[:, 0] if rank == 1 else x})
    return {name: value.transpose(0, 2, 3, 1) for name, value in zip(names, values, strict=True)}


if __name__ == "__main__":
    np.savez(sys.argv[2], **dump(sys.argv[1]))
