"""npunet quantize: an integer network from a trained float one, and what that costs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from npunet import IntegerModel, UNet, pretrained, quantize
from npunet.cli import inputs, models, outputs, predict, sources, values
from npunet.files import write_text
from npunet.integer.fixed_point import ROUNDINGS
from npunet.integer.network import SCHEMES
from npunet.integer.quantization.calibrate import METHODS
from npunet.integer.quantization.report import report, sqnr, table
from npunet.segment import Segmenter
from npunet.train.calibration import SAMPLES, spread
from npunet.train.quantised_run import MUCH

WORST = 8  # layers that are named first


def add(verbs: Any) -> None:
    """Arguments of `npunet quantize`."""
    parser = models.verb(verbs, "quantize", run, "make an int8 or 16x8 network of a trained one, and report its loss",
                         "npunet quantize ecg-trained --calibrate physionet/ludb -o ecg_int8.npz")
    parser.add_argument("model", help="model.npz of a trained network, or the name of one")
    parser.add_argument("--calibrate", metavar="DATA", required=True, help="inputs such as the network will see, whose "
                        "ranges give the scales: a folder of recordings or images as for training, or a file: "
                        f"{inputs.HELP}")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="integer network, .npz or .tflite")
    parser.add_argument("--scheme", choices=SCHEMES, default="int8", help="int8: activations and weights of 8 bits; "
                        "int16x8: activations of 16 (default int8)")
    parser.add_argument("--rounding", choices=ROUNDINGS, default="D", help="of every requantisation. D: twice, as "
                        "TFLite-Micro and CMSIS-NN by default; S: once, as CMSIS-NN can be built (default D)")
    parser.add_argument("--calibration", choices=METHODS, default="minmax", help="minmax: the whole range, as "
                        "TensorFlow's converter; percentile: all but 0.01 %% of the values; mse: the range with the "
                        "smallest squared error (default minmax)")
    parser.add_argument("--samples", type=values.counting, default=SAMPLES, metavar="N",
                        help=f"windows to calibrate by, evenly spread over the data (default {SAMPLES})")
    parser.add_argument("--data", metavar="FOLDER", help="annotated recordings or images: score the network on them "
                        "before and after")
    parser.add_argument("--report", metavar="FILE", help="write the table as .json too")
    inputs.add_arguments(parser)


def run(arguments: Namespace) -> None:
    """Calibrate, quantise, report, score, write."""
    if not arguments.out.endswith((".npz", ".tflite")):
        raise ValueError(f"cannot write {arguments.out}: the suffix must be .npz or .tflite")
    if arguments.out.endswith(".tflite") and arguments.rounding != "D":
        raise ValueError(f"--rounding {arguments.rounding} cannot be written to {arguments.out}: who runs a .tflite "
                         "rounds by its own profile, D for TFLite-Micro; write .npz, or leave --rounding out")
    outputs.refuse_all(arguments)
    model = open_float(arguments.model)
    network = models.network_of(model)
    if arguments.data and not isinstance(model, Segmenter):
        raise ValueError("--data scores a trained network that knows its classes; this one was saved by UNet.save")
    x = calibration_data(arguments, model)
    print(f"calibrating by {len(x)} windows of {' x '.join(map(str, x.shape[1:]))} from {arguments.calibrate}")
    made = quantize(model, x, arguments.scheme, arguments.rounding, calibration_method=arguments.calibration,
                    progress=_progress)
    if arguments.out.endswith(".tflite"):
        made.export_tflite(arguments.out)
    else:
        made.save(arguments.out)
    rows = report(network, made.network, x)
    print(f"\n{table(rows, WORST)}\n")
    print(agreement(network, made, x))
    if arguments.data:
        assert isinstance(model, Segmenter), "seen to above"
        print(scores(model, made, arguments.data))
    print(f"wrote {arguments.out}: {made.scheme}, rounding {made.rounding}, "
          f"{Path(arguments.out).stat().st_size:,} bytes")
    if arguments.report:
        write_text(arguments.report, json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        print(f"wrote {arguments.report}")


def open_float(source: str) -> UNet | Segmenter:
    """A trained float network by file or name. Raises ValueError for an integer one and for random weights."""
    if models.is_described(source):
        models.describe(source)  # which says when there is no such file
        raise ValueError(f"{source} describes a network; quantising needs trained weights: a model.npz, or one of "
                         f"{', '.join(pretrained.names())}")
    model = models.open_model(source)
    if isinstance(model, IntegerModel):
        raise ValueError(f"{source} is an integer network already; quantise the float model that it was made from")
    return model


def calibration_data(arguments: Namespace, model: UNet | Segmenter) -> np.ndarray:
    """Windows of the network's size (N, L, C) or (N, H, W, C), evenly spread over the data that --calibrate names."""
    shape = models.network_of(model).input_shape
    if Path(arguments.calibrate).is_dir():
        inputs.refuse_options(arguments, f"{arguments.calibrate} is a folder, which is read as for training")
        if not isinstance(model, Segmenter):
            raise ValueError(f"{arguments.calibrate} is a folder, but the model does not know how its input is "
                             "prepared; give the inputs as .npy")
        from npunet.train.run import read_things
        from npunet.train.task import examples

        found = [x for x, _ in examples(read_things(model, arguments.calibrate))]
    else:
        found = [sources.batch(arguments.calibrate, model, predict.meaning_of(model), arguments).x]
    return spread(found, shape, arguments.samples, arguments.calibrate)


def agreement(network: UNet, made: IntegerModel, x: np.ndarray) -> str:
    """How near the integer network comes on the calibration data, in words."""
    y, z = network.predict(x), made.dequantized().predict(x)
    told = f"output on the calibration data: SQNR {sqnr(y, z):.1f} dB"
    if network.params.include_top:
        told += f", the same class in {100 * float((y.argmax(-1) == z.argmax(-1)).mean()):.2f} % of the positions"
    return told


def scores(model: Segmenter, made: IntegerModel, data: str) -> str:
    """Weighted F1 and mean IoU before and after, in words."""
    from npunet.evaluate import report as evaluated
    from npunet.train.run import read_things

    things: list[Any] = list(read_things(model, data))
    judge: Any = evaluated.report_images if len(model.input_shape) == 3 else evaluated.report_signals
    integer = models.with_float_face(made)
    before, after = (judge(one, things).classes.summary() for one in (model, integer))
    rows = [f"{name}: {before[name]:.4f} before, {after[name]:.4f} after "
            f"({100 * (after[name] - before[name]):+.2f} points)" for name in ("weighted_f1", "mean_iou")]
    told = f"on {len(things)} recordings or images of {data}: " + "; ".join(rows)
    return told + advice(before["weighted_f1"], after["weighted_f1"], made.scheme)


def advice(before: float, after: float, scheme: str) -> str:
    """What to do about a weighted F1 that fell by more than half a point; else nothing."""
    if before - after <= MUCH:
        return ""
    return (f"\nthat is more than half a point: npunet train CONFIG --quantise {scheme} --weights MODEL --data DATA -o "
            "RUN trains the network on with these errors in sight")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\r\033[K" if done == total else ""
        print(f"\rnpunet: calibrating, {100 * done // total} %", end=end, file=sys.stderr, flush=True)
