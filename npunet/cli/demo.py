"""npunet demo: the ECG network on an ECG: picture, layer table, golden bundle, and the C port verified, in seconds."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet, __version__, pretrained
from npunet.cli import inputs, models, predict, trace
from npunet.data import VARIABLE, Record, data_folder, read_record
from npunet.data.records import find_records
from npunet.data.synthetic import synthetic_ecg
from npunet.evaluate.classes import ClassScores, confusion
from npunet.evaluate.plots import UNMARKED
from npunet.extras import MissingExtra
from npunet.files import write_npy, write_npz, write_text
from npunet.segment import Segmenter


def add(verbs: Any) -> None:
    """Arguments of `npunet demo`."""
    parser = models.verb(verbs, "demo", demo, "run the ECG network on an ECG; write a picture, a table and a trace",
                         "npunet demo --data physionet/ludb")
    parser.add_argument("-o", "--out", metavar="FOLDER", default="demo", help="folder to write to (default demo)")
    parser.add_argument("--data", metavar="FOLDER", help="LUDB, for a real ECG instead of a synthetic one "
                        f"(or the environment variable {VARIABLE})")
    parser.add_argument("--record", metavar="NAME", help="record of LUDB (default: its first)")
    parser.add_argument("--model", metavar="MODEL", help="another network for ECGs (default: the trained one that "
                        "comes with npunet)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the synthetic ECG (default 0)")


def demo(arguments: Namespace) -> None:
    """Build, run, write, and show what was made."""
    opened = models.open_model(arguments.model, arguments.seed) if arguments.model else pretrained.load("ecg")
    model, meaning = models.network_of(opened), predict.meaning_of(opened)
    title, batch = _choose(arguments, opened, meaning)
    start = time.perf_counter()
    y = predict.run(model, batch.x, backend="numpy")  # the engine would first have to be compiled on a new machine
    seconds = time.perf_counter() - start
    labels = predict.classes(y)
    layers = model.trace(trace.padded(model, batch.x[:1]))

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    untrained = bool(arguments.model) and models.is_described(arguments.model)
    caption = f"{title}: {'untrained' if untrained else 'the'} network {model.params.name!r}"
    predict.draw(str(folder / "ecg.svg"), batch, labels, caption, meaning.class_names)
    try:
        predict.draw(str(folder / "ecg.png"), batch, labels, caption, meaning.class_names)
        drawn = "the same, drawn by matplotlib"
    except MissingExtra as missing:
        drawn = f"not made: {missing}"
    write_text(folder / "layers.txt", model.summary() + "\n")
    write_npz(folder / "trace.npz", layers)
    write_npy(folder / "ecg.npy", batch.x)
    opened.save(folder / "model.npz")
    checked = _golden(model, trace.padded(model, batch.x[:1]), folder / "golden")

    truth = "bars below: the true classes" if batch.reference is not None else "no true classes known"
    print(f"""npunet {__version__}
  network  {model.params.name}: {models.size_of(model)}
  input    {title}: {batch.told}
  ran      {y.shape[0] * y.shape[1]:,} samples into {y.shape[2]} classes in {1000 * seconds:.0f} ms, by NumPy
  classes  {predict.shares(labels, meaning.class_names)}
  scores   {_scores(batch, labels, len(meaning.class_names))}
in {folder}{os.sep}
  ecg.svg     the signal, shaded by predicted class; {truth} (open it in a browser)
  ecg.png     {drawn}
  layers.txt  the {len(layers)} layers: operator, shape, parameters, MACs
  trace.npz   the output of every layer: numpy.load("{folder / 'trace.npz'}")["ENC1_D1_conv"]
  ecg.npy     the signal as the network takes it
  model.npz   the network with its weights
  golden{os.sep}     {checked[0]}
              {checked[1]}""")
    if untrained:
        print("The weights are random, not trained: the predicted classes mean nothing yet.")
    print(f"""Next:
  npunet predict {folder / 'model.npz'} {folder / 'ecg.npy'} --output probabilities
  npunet summary {folder / 'model.npz'}
  npunet verify {folder / 'golden'} OUTPUTS_OF_YOUR_PORT
  npunet presets""")


def _golden(model: UNet, x: np.ndarray, folder: Path) -> tuple[str, str]:
    """Write the golden bundle, verify the C that it carries where there is a compiler; two lines about it."""
    from npunet.golden.bundle import golden
    from npunet.verify import cport

    made = golden(model, folder, inputs=x, cases=("random",), formats=("npz", "bin", "c"))
    told = f"every layer's exact numbers for a port in C, HLS or Verilog: {len(made['tensors'])} tensors, and net.c"
    if cport.compiler() is None:
        return told, "net.c was not verified: no C compiler here"
    try:
        result = cport.verify_c(folder)
    except ValueError as error:
        return told, f"net.c was not verified: {error}"
    worst = max(check.chained.max_ulp for layer in result.layers for check in layer.checks)
    return told, (f"net.c, built by {cport.compiler()}: {result.verdict}, {len(result.layers)} layers, "
                  f"largest error {worst} ULP")


def _scores(batch: inputs.Batch, labels: np.ndarray, classes: int) -> str:
    """How well the predicted classes fit the annotated ones, in words."""
    if batch.reference is None:
        return "none: no true classes known"
    found = ClassScores(confusion(batch.reference, labels, classes, UNMARKED)).summary()
    return f"weighted F1 {found['weighted_f1']:.3f}, mean IoU {found['mean_iou']:.3f} of the annotated samples"


def _choose(arguments: Namespace, model: UNet | Segmenter, meaning: models.Meaning) -> tuple[str, inputs.Batch]:
    """A title and a batch: a record where data is named, else a synthetic ECG."""
    if arguments.data or arguments.record or os.environ.get(VARIABLE):
        try:
            return _recorded(arguments, model, meaning)
        except (FileNotFoundError, MissingExtra) as error:
            if arguments.data or arguments.record:
                raise
            print(f"npunet: no recorded ECG ({error}); here is a synthetic one")
    signal, labels = synthetic_ecg(10, 500, seed=arguments.seed)
    record = Record(signal[None], 500.0, ("ECG",), labels[None], np.array([[0, len(signal)]]))
    return "synthetic ECG", inputs.record_batch(record, model, meaning)


def _recorded(arguments: Namespace, model: UNet | Segmenter, meaning: models.Meaning) -> tuple[str, inputs.Batch]:
    folder = data_folder("ludb", "RECORDS", arguments.data)
    records = {path.name: path for path in find_records(folder)}
    if not records:
        raise FileNotFoundError(f"{folder} lists no record that is there")
    name = arguments.record or next(iter(records))
    if name not in records:
        raise FileNotFoundError(f"{folder} has no record {name!r}")
    return f"LUDB record {name}", inputs.record_batch(read_record(records[name]), model, meaning)
