"""Profile S against the TOSA reference model with single rounding, operator by operator.

    python -m venv TOSA && TOSA/bin/pip install tosa-tools        # which pins an older numpy: an environment of its own
    python reference/integer_tosa.py TOSA/bin

Quantises stored cases with rounding="S", and gives every convolution, addition and requantisation the input that it has
in the network. Prints how many values were compared, and fails at the first that differs.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

import configurations
import draw
import numpy as np

from npunet import UNet, quantize
from npunet.integer.network import Network, Node

CASES = ("d1_ecg_small", "d1_pool_over_stride", "d2_strides_mixed", "d2_dilation_left_over", "d2_even_kernels",
         "d2_decoder_depths")
STORED = pathlib.Path(__file__).resolve().parent / "stored"
TYPES = {"int8": "i8", "int32": "i32"}


class Program:
    """One function in TOSA's MLIR while it is being written."""

    def __init__(self, inputs: list[np.ndarray]) -> None:
        self.inputs, self.lines = inputs, []

    def constant(self, values: np.ndarray) -> str:
        """A constant; its name and type."""
        name, flat = f"%c{len(self.lines)}", ", ".join(map(str, np.ravel(values).tolist()))
        kind = f"tensor<{'x'.join(map(str, values.shape))}x{TYPES[values.dtype.name]}>"
        text = f"dense<{nested(values)}>" if flat else ""
        self.lines.append(f'{name} = "tosa.const"() <{{values = {text} : {kind}}}> : () -> {kind}')
        return f"{name} : {kind}"

    def operator(self, code: str, operands: list[str], attributes: str, shape: tuple[int, ...], dtype: str) -> str:
        """An operator; the name and type of its result."""
        names, kinds = zip(*(operand.split(" : ") for operand in operands), strict=True)
        result, kind = f"%r{len(self.lines)}", f"tensor<{'x'.join(map(str, shape))}x{TYPES[dtype]}>"
        body = f" {{{attributes}}}" if attributes else ""
        self.lines.append(f"{result} = tosa.{code} {', '.join(names)}{body} : ({', '.join(kinds)}) -> {kind}")
        return f"{result} : {kind}"

    def rescale(self, x: str, shape: tuple[int, ...], source: str, target: str, multiplier: np.ndarray,
                shift: np.ndarray, input_zero: int, output_zero: int) -> str:
        """RESCALE with single rounding: (x - zi) * m >> shift, plus zo, saturated."""
        operands = [x, self.constant(np.asarray(multiplier, np.int32).reshape(-1)),
                    self.constant(np.asarray(shift, np.int8).reshape(-1)),
                    self.constant(np.array([input_zero], source)), self.constant(np.array([output_zero], target))]
        attributes = ("input_unsigned = false, output_unsigned = false, "
                      f"per_channel = {str(np.size(shift) > 1).lower()}, "
                      "rounding_mode = SINGLE_ROUND, scale32 = true")
        return self.operator("rescale", operands, attributes, shape, target)

    def run(self, binaries: pathlib.Path, result: str) -> np.ndarray:
        """What the reference model computes."""
        kinds = [f"tensor<{'x'.join(map(str, x.shape))}x{TYPES[x.dtype.name]}>" for x in self.inputs]
        arguments = ", ".join(f"%x{i}: {kind}" for i, kind in enumerate(kinds))
        name, kind = result.split(" : ")
        body = "\n    ".join([*self.lines, f"return {name} : {kind}"])
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            function = f"func.func @main({arguments}) -> {kind} {{\n    {body}\n  }}"
            (work / "m.mlir").write_text(f"module {{\n  {function}\n}}\n")
            subprocess.run([binaries / "tosa-opt", "--tosa-serialize", f"--tosa-flatbuffer-filename={work / 'm.tosa'}",
                            work / "m.mlir"], check=True, capture_output=True)
            for i, x in enumerate(self.inputs):
                np.save(work / f"x{i}.npy", x)
            found = [f"TosaInput_{i}" for i in range(len(self.inputs))]
            subprocess.run([binaries / "tosa_reference_model", f"--tosa_file={work / 'm.tosa'}",
                            f"--flatbuffer_dir={work}", f"--output_dir={work}", f"--ifm_name={','.join(found)}",
                            f"--ifm_file={','.join(f'x{i}.npy' for i in range(len(self.inputs)))}",
                            "--ofm_name=TosaOutput_0", "--ofm_file=y.npy"], check=True, capture_output=True)
            return np.load(work / "y.npy")


def nested(values: np.ndarray) -> str:
    """Values as MLIR writes a dense constant."""
    return str(values.tolist())


def judged(node: Node, network: Network, inputs: list[np.ndarray], shape: tuple[int, ...],
           binaries: pathlib.Path) -> np.ndarray:
    """The node's output by the reference model, its clamp applied here."""
    attrs, arrays, program = node.attrs, node.arrays, Program(inputs)
    xs = [f"%x{i} : tensor<{'x'.join(map(str, x.shape))}xi8>" for i, x in enumerate(inputs)]
    if node.op in ("conv2d", "depthwise_conv2d"):
        weights = arrays["weights"] if node.op == "depthwise_conv2d" else arrays["weights"].transpose(3, 0, 1, 2)
        (top, bottom), (left, right) = attrs["pads"]
        zeros = np.array([-attrs["input_offset"]], np.int8), np.zeros(1, np.int8)
        operands = [xs[0], *(program.constant(values) for values in (weights, arrays["bias"], *zeros))]
        numbers = (f"pad = array<i64: {top}, {bottom}, {left}, {right}>, stride = array<i64: {attrs['stride'][0]}, "
                   f"{attrs['stride'][1]}>, dilation = array<i64: {attrs['dilation'][0]}, {attrs['dilation'][1]}>")
        acc = program.operator(node.op, operands, f"acc_type = i32, {numbers}", shape, "int32")
        y = program.rescale(acc, shape, "int32", "int8", arrays["multiplier"], 31 - arrays["shift"].astype(int), 0,
                            attrs["output_offset"])
    elif node.op == "add":
        halves = [program.rescale(xs[i], shape, "int8", "int32", attrs[f"input{i + 1}_multiplier"],
                                  31 - attrs[f"input{i + 1}_shift"] - attrs["left_shift"],
                                  -attrs[f"input{i + 1}_offset"], 0) for i in (0, 1)]
        total = program.operator("add", halves, "", shape, "int32")
        y = program.rescale(total, shape, "int32", "int8", attrs["output_multiplier"], 31 - attrs["output_shift"], 0,
                            attrs["output_offset"])
    else:
        y = program.rescale(xs[0], shape, "int8", "int8", attrs["multiplier"], 31 - attrs["shift"],
                            -attrs["input_offset"], attrs["output_offset"])
    return np.clip(program.run(binaries, y), attrs["act_min"], attrs["act_max"])


def main() -> None:
    """Compare every operator that rounds."""
    binaries, count, operators = pathlib.Path(sys.argv[1]), 0, 0
    cases = {case["name"]: case for case in configurations.ONE_D + configurations.TWO_D}
    for name in CASES:
        case = cases[name]
        with np.load(STORED / f"{name}.npz") as arrays:
            weights = {key[8:]: arrays[key] for key in arrays.files if key.startswith("weights/")}
        network = UNet(case["params"], case["input_shape"], case["num_classes"]).load_weights(weights)
        model = quantize(network, draw.calibration(case), rounding="S")
        x = model.quantize_input(draw.calibration(case)[:1])
        trace = {"input": x.reshape(1, *model.network.tensors["input"].shape), **model.trace(x)}
        for node in model.network:
            if node.op not in ("conv2d", "depthwise_conv2d", "add", "rescale"):
                continue
            expected = judged(node, model.network, [trace[source] for source in node.inputs], trace[node.name].shape,
                              binaries)
            if not np.array_equal(trace[node.name], expected):
                off = np.count_nonzero(trace[node.name] != expected)
                raise SystemExit(f"{name}, {node.name}: {off} of {expected.size} values differ from TOSA's")
            count, operators = count + expected.size, operators + 1
        print(f"{name}: equal", flush=True)
    print(f"{operators} operators, {count:,} values, 0 differences")


if __name__ == "__main__":
    main()
