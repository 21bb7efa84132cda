"""npunet demo: the ECG network on an ECG, with a picture, a layer table and every layer's output, in seconds."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet, __version__
from npunet.cli import inputs, models, predict, trace
from npunet.data import VARIABLE, data_folder, ecg
from npunet.data.synthetic import synthetic_ecg
from npunet.extras import MissingExtra
from npunet.files import write_npy, write_npz, write_text


def add(verbs: Any) -> None:
    """Arguments of `npunet demo`."""
    parser = models.verb(verbs, "demo", demo, "run the ECG network on an ECG; write a picture, a table and a trace",
                         "npunet demo --data physionet/ludb")
    parser.add_argument("-o", "--out", metavar="FOLDER", default="demo", help="folder to write to (default demo)")
    parser.add_argument("--data", metavar="FOLDER", help="LUDB, for a real ECG instead of a synthetic one "
                        f"(or the environment variable {VARIABLE})")
    parser.add_argument("--record", metavar="NAME", help="record of LUDB (default: its first)")
    parser.add_argument("--model", metavar="MODEL", default="ecg", help="another network for ECGs, say a trained one")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the synthetic ECG (default 0)")


def demo(arguments: Namespace) -> None:
    """Build, run, write, and show what was made."""
    model = models.open_model(arguments.model, arguments.seed)
    meaning = models.meaning(model)
    title, batch = _choose(arguments, model, meaning)
    start = time.perf_counter()
    y = predict.run(model, batch.x)
    seconds = time.perf_counter() - start
    labels = predict.classes(y)
    layers = model.trace(trace.padded(model, batch.x[:1]))

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    untrained = models.is_described(arguments.model)
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
    model.save(folder / "model.npz")

    truth = "bars below: the true classes" if batch.reference is not None else "no true classes known"
    print(f"""npunet {__version__}
  network  {model.params.name}: {models.size_of(model)}
  input    {title}: {batch.told}
  ran      {y.shape[0] * y.shape[1]:,} samples into {y.shape[2]} classes in {1000 * seconds:.0f} ms
  classes  {predict.shares(labels, meaning.class_names)}
in {folder}{os.sep}
  ecg.svg     the signal, shaded by predicted class; {truth} (open it in a browser)
  ecg.png     {drawn}
  layers.txt  the {len(layers)} layers: operator, shape, parameters, MACs
  trace.npz   the output of every layer: numpy.load("{folder / 'trace.npz'}")["ENC1_D1_conv"]
  ecg.npy     the signal as the network takes it
  model.npz   the network with its weights""")
    if untrained:
        print("The weights are random, not trained: the predicted classes mean nothing yet.")
    print(f"""Next:
  npunet predict {folder / 'model.npz'} {folder / 'ecg.npy'} --output probabilities
  npunet summary {folder / 'model.npz'}
  npunet presets""")


def _choose(arguments: Namespace, model: UNet, meaning: models.Meaning) -> tuple[str, inputs.Batch]:
    """A title and a batch: a record where data is named, else a synthetic ECG."""
    if arguments.data or arguments.record or os.environ.get(VARIABLE):
        try:
            return _recorded(arguments, model, meaning)
        except (FileNotFoundError, MissingExtra) as error:
            if arguments.data or arguments.record:
                raise
            print(f"npunet: no recorded ECG ({error}); here is a synthetic one")
    signal, labels = synthetic_ecg(10, 500, seed=arguments.seed)
    record = ecg.Record(signal[None], 500.0, ("ECG",), labels[None], np.array([[0, len(signal)]]))
    return "synthetic ECG", inputs.record_batch(record, model, meaning)


def _recorded(arguments: Namespace, model: UNet, meaning: models.Meaning) -> tuple[str, inputs.Batch]:
    folder = data_folder("ludb", "RECORDS", arguments.data)
    records = {path.name: path for path in ecg.find_records(folder)}
    if not records:
        raise FileNotFoundError(f"{folder} lists no record that is there")
    name = arguments.record or next(iter(records))
    if name not in records:
        raise FileNotFoundError(f"{folder} has no record {name!r}")
    return f"LUDB record {name}", inputs.record_batch(ecg.read_record(records[name]), model, meaning)
