"""The second part of npunet demo: the network in int8, what that costs, and its C port built and verified."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from npunet import IntegerModel, UNet, pretrained, quantize
from npunet.cli import models
from npunet.data.ecg import resample_labels
from npunet.evaluate.classes import ClassScores, confusion
from npunet.evaluate.plots import UNMARKED
from npunet.extras import MissingExtra
from npunet.train.calibration import SAMPLES, spread

SCHEME = "int8"


def demo_integer(name: str, model: UNet, x: np.ndarray, reference: np.ndarray | None, fs: float, rate: float,
                 folder: Path) -> str:
    """Write the int8 network, its .tflite and its golden bundle, verify its C, and tell; or tell why not.

    name      : of the float network `model`; a trained one that comes with npunet has its int8 form with it
    x         : (B, L, C) the recording as the network takes it, at `rate`
    reference : (leads, M) its annotated classes at `fs`, or None
    """
    try:
        made, how = integer_network(name, model, x)
    except ValueError as error:
        return f"int8\n  skipped  {error}"
    made.save(folder / f"model_{SCHEME}.npz")
    try:
        made.export_tflite(folder / f"model_{SCHEME}.tflite")
        exported = f"the same for TensorFlow Lite and TFLite-Micro: {_size(folder / f'model_{SCHEME}.tflite')} bytes"
    except (MissingExtra, ValueError) as why:
        exported = f"not made: {why}"
    told, checked = _golden(made, x, folder / f"golden_{SCHEME}")
    weights = 4 * sum(spec.size for spec in model.graph.weights.values())
    return f"""{SCHEME}
  network  {how}: {models.size_of(made)}
  accuracy on this recording: {_accuracy(model, made, x, reference, fs, rate)}
  size     {told} (the float weights alone: {weights:,} bytes)
  model_{SCHEME}.npz     the network in integers: npunet.load gives it
  model_{SCHEME}.tflite  {exported}
  golden_{SCHEME}        every layer's exact integers, and net.c
              {checked}"""


def integer_network(name: str, model: UNet, x: np.ndarray) -> tuple[IntegerModel, str]:
    """The int8 form of a network, and where it is from, in words. Raises ValueError where it has none."""
    if models.is_trained(name):
        return pretrained.quantized(name, SCHEME), f"{name} in {SCHEME}, as it comes with npunet"
    windows = spread([x], model.input_shape, SAMPLES, "the recording")
    return quantize(model, windows, SCHEME), f"{name} in {SCHEME}, calibrated by this recording"


def _accuracy(model: UNet, made: IntegerModel, x: np.ndarray, reference: np.ndarray | None, fs: float,
              rate: float) -> str:
    """What the integers lose on the recording, in words; one run of each, where a Segmenter takes a mean of several."""
    before, after = (each.predict(x, pad=True).argmax(-1) for each in (model, made.dequantized()))
    told = f"the same class in {100 * float((before == after).mean()):.2f} % of {before.size:,} samples"
    if reference is None:
        return told
    true = np.broadcast_to(resample_labels(reference, fs, rate), before.shape)
    scores = [ClassScores(confusion(true, found, made.num_classes, UNMARKED)).summary()["weighted_f1"]
              for found in (before, after)]
    return (f"one run at {rate:g} Hz, weighted F1 {scores[0]:.4f} in float, {scores[1]:.4f} in {SCHEME}: "
            f"{_lost(scores)}; {told}")


def _lost(scores: list[float]) -> str:
    points = 100 * (scores[0] - scores[1])
    return f"{points:.2f} points lost" if points >= 0.005 else "nothing lost"


def _golden(made: IntegerModel, x: np.ndarray, folder: Path) -> tuple[str, str]:
    """Write the golden bundle and verify its C where there is a compiler: the port's size, and what came out."""
    from npunet.golden.integer.bundle import golden_integer
    from npunet.verify import cport

    size = made.input_shape[0]
    given = made.quantize_input(x[:1, :size]) if x.shape[1] >= size else None
    manifest = golden_integer(made, folder, inputs=given, kinds=("random",), formats=("npz", "bin", "c"))
    used = manifest["memory"]
    told = f"the C port takes {used['flash']:,} bytes of flash and {used['ram']:,} of RAM"
    if cport.compiler() is None:
        return told, "net.c was not verified: no C compiler here"
    try:
        return told, verified(folder)
    except ValueError as error:
        return told, f"net.c was not verified: {error}"


def verified(folder: Path) -> str:
    """Build the C of a bundle that was made this moment, run it, compare every integer; in words."""
    from npunet.verify import cport, verify

    with tempfile.TemporaryDirectory() as scratch:
        cport.run_c(folder, folder / "c", Path(scratch))
        result = verify(folder, Path(scratch) / "out", explain=False)
    found = [check.chained for layer in result.layers for check in layer.checks]
    return (f"net.c, built by {cport.compiler()}: {result.verdict}, {len(result.layers)} layers, "
            f"{sum(each.differ for each in found)} of {sum(each.size for each in found):,} integers differ")


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,}"
