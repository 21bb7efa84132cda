"""Random networks through TensorFlow's converter and through npunet.quantize, from the same data: every number beside
every number, and every tensor beside TFLite-Micro's.

    python reference/integer_random.py make DIR --count 40      # tensorflow-cpu, neuralspot-edge
    python reference/integer_random.py compare DIR              # npunet, tflite-micro, ai-edge-litert; no TensorFlow

`make` draws networks by seed (odd sizes, even kernels, dilations, separable blocks, skips of every kind, strides and
pools of any proportion, ReLU, ReLU6, leaky ReLU, with and without batch norm, 1-D and 2-D), gives them the weights and
calibration data of draw.py, and converts each to int8 and 16x8, by turns in the three forms of integer_tflite.py.
`compare` prints one line a file and ends with exit status 1 when anything differs that should not. With the batch left
open the converter keeps dilated convolutions as SPACE_TO_BATCH_ND, CONV_2D, BATCH_TO_SPACE_ND, MUL and ADD: such files
are refused with the operator's name, and converting them at batch 1 is the way out. Refused too are files in which the
converter gave weights infinite scales or a layer a left shift of more than 30: in 16x8, where an activation was zero
for all calibration data.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import warnings

import draw
import numpy as np
from parameter_sets import sound

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20260
ACTIVATIONS = ("relu", "relu6", "leaky_relu")
SCALE = 1e-6  # relative: the converter's float kernels add in another order
LARGEST = 4096  # positions of an input
INPUTS = 4  # random inputs that every tensor is compared on


def random_case(number: int) -> dict:
    """Network `number`, as configurations.case has it."""
    rng = np.random.default_rng([SEED, number])
    while True:
        row = sound(rng)
        params = row["params"]
        for block in params["blocks"]:
            if block.get("norm") == "layer":
                block["norm"] = "batch"
            if block.get("activation") not in ACTIVATIONS:
                block["activation"] = ACTIVATIONS[int(rng.integers(3))]
        params.pop("output_kernel_stride", None)
        params.pop("name", None)
        row["input_shape"][:-1] = [size * int(rng.integers(1, 6)) for size in row["input_shape"][:-1]]
        if params["blocks"] and 12 <= np.prod(row["input_shape"][:-1]) <= LARGEST:
            return {"name": f"random_{number}", "params": params, "input_shape": tuple(row["input_shape"]),
                    "num_classes": row["num_classes"], "loss": "mean_squared_error", "batch": 2}


def make(folder: pathlib.Path, count: int, first: int) -> None:
    """Convert networks `first` ... `first + count - 1`."""
    import keras_run
    from integer_tflite import FORMS, TARGETS, convert

    folder.mkdir(parents=True, exist_ok=True)
    keras_run.single_threaded()
    for number in range(first, first + count):
        case = random_case(number)
        try:
            keras_run.build(case["params"], case["input_shape"], case["num_classes"], "float32")
        except ValueError as error:
            print(f"{case['name']}: not built by Keras: {error}", flush=True)
            continue
        for scheme in TARGETS:
            form = FORMS[number % len(FORMS)]
            path = folder / f"{case['name']}.{scheme}.{form}.tflite"
            path.write_bytes(convert(case, scheme, form))
            print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)


def compare(folder: pathlib.Path) -> bool:
    """Whether everything agrees in every file of a folder."""
    good, values, refused = True, 0, 0
    for path in sorted(folder.glob("random_*.tflite"), key=lambda p: (int(p.name.split(".")[0][7:]), p.name)):
        name, scheme, form, _ = path.name.split(".")
        try:
            told, count = compared(path, random_case(int(name[7:])), scheme, form)
        except ValueError as error:
            dilated = form == "open" and "SPACE_TO_BATCH_ND" in str(error)
            broken = "a scale that is not a positive number" in str(error) or "a left shift of" in str(error)
            if not dilated and not (broken and scheme == "int16x8"):
                raise
            print(f"{path.name}: refused: {str(error)[:300]}", flush=True)
            refused += 1
            continue
        print(f"{path.name}: {'; '.join(told) or 'equal'}, {count:,} values", flush=True)
        good, values = good and not told, values + count
    print(f"{values:,} values beside the judges; {refused} files refused")
    return good


def compared(path: pathlib.Path, case: dict, scheme: str, form: str) -> tuple[list[str], int]:
    """What differs for one conversion, in words, and how many values were compared with a judge."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from integer_judges import assert_same, integers, litert, tflite_micro

    import npunet

    told, count = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # of weights that an int kernel wastes
        model = npunet.UNet(case["params"], case["input_shape"], case["num_classes"])
        model.load_weights({name: draw.weight(case, name, w.shape) for name, w in model.weights.items()})
    made = npunet.quantize(model, draw.calibration(case), scheme)
    theirs = npunet.load(path)
    told += numbers(made.network, theirs.network)
    with tempfile.TemporaryDirectory() as scratch:
        made.export_tflite(f"{scratch}/m.tflite")
        content = pathlib.Path(scratch, "m.tflite").read_bytes()
        again = npunet.load(f"{scratch}/m.tflite")
    x = integers(made, INPUTS, np.random.default_rng(case["name"].encode()[-1]))
    runs = [("ours", made, content, tflite_micro), ("ours read again", again, content, tflite_micro)]
    if form == "resize":
        runs.append(("theirs", theirs, path.read_bytes(), tflite_micro))
    elif scheme == "int8":                                                   # TFLite-Micro has no TILE
        from integer_judges import tile_of_version_2

        runs.append(("theirs", theirs, tile_of_version_2(path.read_bytes()), litert))
    for who, network, judged, judge in runs:
        try:
            tensors = judge(judged, x)
            trace = network.trace(x)
            ends = ("input", "input/image", "output") if who == "ours" else ("input",)  # which only the file has
            count += assert_same(trace, {name: y for name, y in tensors.items() if name not in ends})
        except (AssertionError, KeyError) as error:
            told.append(f"{who}: {error}")
    return told, count


def numbers(ours, theirs) -> list[str]:
    """What differs between two networks' scales, zero points, weights and biases, in words.

    Upsampling stands as one operator or several, and with the batch left open the converter requantises for a
    concatenation before the upsampling, not after it, which gives the same integers: these nodes are left out.
    """
    told = []
    moved = ("upsample_nearest2d", "rescale")
    ours_by, theirs_by = ({n.name: n for n in net if n.op not in moved} for net in (ours, theirs))
    if list(ours_by) != list(theirs_by):
        return [f"nodes {sorted(set(ours_by) ^ set(theirs_by))} are in one alone"]
    for name, node in {ours.input: None, **ours_by}.items():
        other, tensor, same = theirs_by.get(name), ours.tensors[name], theirs.tensors[name]
        if tensor.zero_point != same.zero_point or abs(tensor.scale / same.scale - 1) > SCALE:
            told.append(f"{name}: scale {tensor.scale:.9g}, zero point {tensor.zero_point} for {same.scale:.9g}, "
                        f"{same.zero_point}")
        if node is None or "weights" not in node.arrays:
            continue
        off = int(np.count_nonzero(node.arrays["weights"] != other.arrays["weights"]))
        if off:
            told.append(f"{name}: {off} of {node.arrays['weights'].size} weights")
        bias, expected = (n.arrays["bias"].astype(np.float64) for n in (node, other))
        x, y = ours.tensors[node.inputs[0]], theirs.tensors[other.inputs[0]]
        apart = abs(x.scale / y.scale - 1) + np.abs(node.scales["weights"] / other.scales["weights"] - 1)
        allowed = np.where(apart > 0, np.ceil(np.abs(expected) * (apart + 2.0**-23)), 0)
        if ours.scheme == "int8":
            allowed = np.where(allowed > 0, 1, 0)
        if (np.abs(bias - expected) > allowed).any():
            told.append(f"{name}: biases {bias.tolist()} for {expected.tolist()}")
        elif ours.scheme == "int8" and (bias != expected).any():
            told.append(f"{name}: {int((bias != expected).sum())} biases off by 1, scales apart by {apart.max():.1e}")
    return told


def main() -> None:
    """Make or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "compare"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first network")
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folder, arguments.count, arguments.first)
    elif not compare(arguments.folder):
        sys.exit(1)


if __name__ == "__main__":
    main()
