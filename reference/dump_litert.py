"""The ECG network of stored/files as LiteRT's reference float kernels compute it, for `npunet verify`, and bit by bit.

    python reference/dump_litert.py BUNDLE OUT.npz      writes both: a bundle of the stored model, and LiteRT's outputs
    npunet verify BUNDLE OUT.npz --bounded --layers ... the layers are printed; convolutions are fused with their ReLU6

Then every convolution of LiteRT is repeated by npunet's operators on LiteRT's own inputs and weights, in the orders
"seq" and "seq_fma", and the bits are compared: see README.md, "LiteRT's order of summation".
"""

from __future__ import annotations

import json
import pathlib
import re
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from npunet import UNet
from npunet.geometry import same_pads_2d
from npunet.golden import golden
from npunet.ops.conv import conv2d_forward
from npunet.ops.depthwise import depthwise_conv2d_forward

FILES = pathlib.Path(__file__).resolve().parent / "stored" / "files"
NAME = re.compile(r"((?:ENC|DEC)\d+\.(?:D\d+\.\w+?|\w+?)|NECK\.\w+?)(?:_\d+)?/")


def model() -> tuple[UNet, np.ndarray]:
    """The stored network with its weights, and its first input (1, L, C)."""
    with np.load(FILES / "ecg-docstring.npz") as file:
        case = json.loads(str(file["case"]))
        weights = {key.removeprefix("weights/"): file[key] for key in file.files if key.startswith("weights/")}
        x = file["x"][:1]
    built = UNet(case["params"], tuple(case["input_shape"]), case["num_classes"])
    return built.load_weights(weights), x


def layer_of(op: str, name: str, known: set[str]) -> str | None:
    """npunet's name for what an operator of the file gives; a fused convolution gives what its activation does."""
    found = NAME.findall(name + "/")
    if not found:
        return None
    stem = found[-1]
    if op == "DEPTHWISE_CONV_2D":
        return f"{stem.replace('.', '_')}/depthwise"
    plain = stem.replace(".", "_")
    fused = re.sub(r"_(bn|conv)$", "_act", plain)
    return next((candidate for candidate in (fused, plain) if candidate in known), None)


def run(x: np.ndarray) -> tuple[Interpreter, list[dict]]:
    """The file run once by the reference kernels, every tensor kept."""
    interpreter = Interpreter(model_path=str(FILES / "ecg-docstring.float.tflite"), num_threads=1,
                              experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                              experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter, interpreter._get_ops_details()


def repeated(op: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, order: str, fused: bool) -> np.ndarray:
    """A convolution of the file by npunet's operators; all strides of this network are 1 and all pads "same"."""
    kernel = w.transpose(1, 2, 0, 3) if op == "DEPTHWISE_CONV_2D" else w.transpose(1, 2, 3, 0)
    forward = conv2d_forward
    if op == "DEPTHWISE_CONV_2D":
        forward, kernel = depthwise_conv2d_forward, kernel.reshape(*w.shape[1:3], w.shape[3], 1)
    pads = same_pads_2d(x.shape[1:3], kernel.shape[:2], (1, 1), (1, 1))
    y = forward(x, np.ascontiguousarray(kernel), b, pads=pads, arithmetic=order)
    return np.clip(y, 0, 6) if fused else y


def main() -> None:
    bundle, out = sys.argv[1:]
    built, x = model()
    golden(built, bundle, inputs=x, arithmetic="seq", cases=(), formats=("npz",))
    known = {layer.name for layer in built.graph} | {f"{node.name}/depthwise" for node in built.graph}
    interpreter, ops = run(x)
    shown, equal = {}, {"seq": [0, 0], "seq_fma": [0, 0]}
    for op in ops:
        kind, index = op["op_name"], int(op["outputs"][0])
        y = interpreter.get_tensor(index)
        name = layer_of(kind, interpreter._get_tensor_details(index, 0)["name"], known)
        if name and y.ndim == 4:
            shown[name] = y
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            tensors = [interpreter.get_tensor(int(k)) for k in op["inputs"]]
            fused = float(y.min()) >= 0 and float(y.max()) <= 6
            for order, counts in equal.items():
                bits = repeated(kind, *tensors, order, fused).view("u4") ^ (y + 0).view("u4")
                counts[0] += int(np.count_nonzero(bits == 0))
                counts[1] += bits.size
    np.savez(out, **shown)
    print(",".join(shown))
    for order, (same, total) in equal.items():
        print(f"{order}: {same} of {total} elements of the convolutions have LiteRT's bits", file=sys.stderr)


if __name__ == "__main__":
    main()
