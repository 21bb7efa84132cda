"""npunet demo: the ECG network on an ECG: picture, layer table, golden bundle and the C port verified, in seconds, and
the same in int8."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet, __version__
from npunet.cli import models, outputs, predict, sources, trace, values
from npunet.cli.demo_integer import demo_integer
from npunet.data import VARIABLE, Record, data_folder, read_record
from npunet.data.records import find_records
from npunet.data.synthetic import synthetic_ecg
from npunet.evaluate.classes import ClassScores, confusion
from npunet.evaluate.plots import UNMARKED
from npunet.extras import MissingExtra
from npunet.files import write_npy, write_npz, write_text

RECORD = "LUDB record "


def add(verbs: Any) -> None:
    """Arguments of `npunet demo`."""
    parser = models.verb(verbs, "demo", demo, "run the ECG network on an ECG; write a picture, a table and a trace",
                         "npunet demo --data physionet/ludb")
    parser.add_argument("-o", "--out", metavar="FOLDER", default="demo", help="folder to write to (default demo)")
    parser.add_argument("--data", metavar="FOLDER", help="LUDB, for a real ECG instead of a synthetic one "
                        f"(or the environment variable {VARIABLE})")
    parser.add_argument("--record", metavar="NAME", help="record of LUDB (default: its first)")
    parser.add_argument("--model", metavar="MODEL", help="another network for ECGs (default ecg-trained, the "
                        "trained one that comes with npunet)")
    parser.add_argument("--seed", type=values.seed, default=0,
                        help="of the weights and of the synthetic ECG (default 0)")


def demo(arguments: Namespace) -> None:
    """Build, run, write, and show what was made."""
    name = arguments.model or "ecg-trained"
    opened = models.open_float(name, arguments.seed)
    meaning = predict.meaning_of(opened)
    segmenter, model = sources.segmenter_of(opened, meaning), models.network_of(opened)
    assert segmenter.preparation is not None
    title, given = _choose(arguments, meaning)
    start = time.perf_counter()
    labels = np.atleast_2d(segmenter.segment(given.values, given.fs))
    seconds = time.perf_counter() - start
    x = segmenter.normalised(given.values, given.fs)
    x = x[..., None] if model.input_shape[-1] == 1 else x.T[None]            # (B, L, C)
    layers = model.trace(trace.padded(model, x[:1]))

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    outputs.refuse_unwritable(folder / "ecg.svg")
    caption = f"{title}: {models.called(name)}"
    predict.draw(str(folder / "ecg.svg"), given, labels, caption, meaning.class_names)
    try:
        predict.draw(str(folder / "ecg.png"), given, labels, caption, meaning.class_names)
        drawn = "the same, drawn by matplotlib"
    except MissingExtra as missing:
        drawn = f"not made: {missing}"
    write_text(folder / "layers.txt", model.summary() + "\n")
    write_npz(folder / "trace.npz", layers)
    write_npy(folder / "ecg.npy", x)
    write_text(folder / "ecg.csv", _table(given))
    opened.save(folder / "model.npz")
    write_text(folder / "page.html", _page(model, trace.padded(model, x[:1]), title, meaning.class_names))
    checked = _golden(model, trace.padded(model, x[:1]), folder / "golden")

    truth = "bars below: the true classes" if given.reference is not None else "no true classes known"
    print(f"""npunet {__version__}
  network  {models.called(name).removeprefix("network ")}: {models.size_of(model)}
  input    {title}: {given.told}
  ran      {labels.size:,} samples into {len(meaning.class_names)} classes in {1000 * seconds:.0f} ms
  classes  {predict.shares(labels, meaning.class_names)}
  scores   {_scores(given, labels, len(meaning.class_names))}
in {folder}{os.sep}
  ecg.svg     the signal, shaded by predicted class; {truth} (open it in a browser: the wheel zooms)
  ecg.png     {drawn}
  layers.txt  the {len(layers)} layers: operator, shape, parameters, MACs
  trace.npz   the output of every layer: numpy.load("{folder / 'trace.npz'}")["ENC1_D1_conv"]
  ecg.csv     the signal in mV, with its times
  ecg.npy     the signal as the network takes it, at {segmenter.preparation.rate:g} Hz (--raw feeds it as it is)
  model.npz   the network with its weights
  page.html   the network, live: every number taken apart and changed
  golden{os.sep}     {checked[0]}
              {checked[1]}
{demo_integer(name, model, x, given.reference, given.fs, segmenter.preparation.rate, folder)}""")
    if models.is_described(name):
        print("The weights are random, not trained: the predicted classes mean nothing yet.")
    if segmenter.taught is not None and (told := segmenter.taught.among([title.removeprefix(RECORD)])):
        print(f"Mind: {told}.")
    print(f"""Next:
  npunet predict {folder / 'model.npz'} {folder / 'ecg.csv'} -o {folder / 'waves.csv'}
  npunet summary {folder / 'model.npz'}
  npunet verify {folder / 'golden'} OUTPUTS_OF_YOUR_PORT
  npunet presets
Open {folder / 'page.html'} in a browser: that is the place to begin.""")


def _page(model: UNet, x: np.ndarray, title: str, class_names: tuple[str, ...]) -> str:
    """The page of the network on the demo's input."""
    from npunet.audit.oddities import oddities
    from npunet.audit.page import page
    from npunet.audit.subject import subject

    shown = subject(model, x)
    return page(shown, title, class_names, oddities(model.params, shown.graph, shown.rank))


def _table(given: sources.Signal) -> str:
    """A recording as .csv: seconds, then a column a lead in mV."""
    names = ",".join(("time (s)", *(f"{lead} (mV)" for lead in given.leads)))
    rows = (",".join((f"{at / given.fs:.9g}", *(f"{value:.9g}" for value in moment)))
            for at, moment in enumerate(given.values.T))
    return "\n".join((names, *rows, ""))


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


def _scores(given: sources.Signal, labels: np.ndarray, classes: int) -> str:
    """How well the predicted classes fit the annotated ones, in words."""
    if given.reference is None:
        return "none: no true classes known"
    every = np.broadcast_to(labels, given.reference.shape)
    found = ClassScores(confusion(given.reference, every, classes, UNMARKED)).summary()
    return f"weighted F1 {found['weighted_f1']:.3f}, mean IoU {found['mean_iou']:.3f} of the annotated samples"


def _choose(arguments: Namespace, meaning: models.Meaning) -> tuple[str, sources.Signal]:
    """A title and a recording: a record where data is named, else a synthetic ECG."""
    if arguments.data or arguments.record or os.environ.get(VARIABLE):
        try:
            return _recorded(arguments, meaning)
        except (FileNotFoundError, MissingExtra) as error:
            if arguments.data or arguments.record:
                raise
            print(f"npunet: no recorded ECG ({error}); here is a synthetic one")
    signal, labels = synthetic_ecg(10, 500, seed=arguments.seed)
    record = Record(signal[None], 500.0, ("ECG",), labels[None], np.array([[0, len(signal)]]))
    return "synthetic ECG", sources.signal_of(record, meaning)


def _recorded(arguments: Namespace, meaning: models.Meaning) -> tuple[str, sources.Signal]:
    folder = data_folder("ludb", "RECORDS", arguments.data)
    found = {path.name: path for path in find_records(folder)}
    if not found:
        raise FileNotFoundError(f"{folder} lists no record that is there")
    name = arguments.record or next(iter(found))
    if name not in found:
        raise FileNotFoundError(f"{folder} has no record {name!r}")
    return f"{RECORD}{name}", sources.signal_of(read_record(found[name]), meaning)
