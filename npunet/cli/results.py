"""What `npunet predict` writes: the kind of file is its suffix, and what cannot be written is refused beforehand."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npunet.cli.inputs import ARRAYS, IMAGES, TABLES
from npunet.cli.outputs import refuse_unwritable
from npunet.distributed.remote import is_address
from npunet.extras import MissingExtra, extra
from npunet.files import write_npy, write_npz, write_text
from npunet.formats.label_image import write_label_image
from npunet.formats.parquet import write_waves
from npunet.formats.wfdb_annotation import annotation_path, check_annotator, write_annotation
from npunet.segment.instances import object_table
from npunet.segment.waves import wave_marks, wave_table, waves

OUTPUTS = ("labels", "probabilities", "logits")
OF_SIGNALS, OF_IMAGES = (".npy", ".npz", ".csv", ".parquet"), (".npy", ".npz", ".png", ".tif", ".tiff", ".csv")


@dataclass(frozen=True)
class Result:
    """What came out for one input.

    labels      : (leads, L) or (B, H, W) classes; None for a network that gives none
    values      : what was asked for instead, probabilities or logits (..., K); None for labels
    objects     : (B, H, W) numbers of objects, where they were asked for
    rows        : names of the leads, samples or images
    class_names : one a class
    fs, start   : samples per second of the labels, or None; the sample of the input that the first label stands at
    signal      : (leads, L) that was labelled; None for images
    """

    output: str
    labels: np.ndarray | None
    rows: Sequence[str]
    class_names: Sequence[str]
    values: np.ndarray | None = None
    objects: np.ndarray | None = None
    fs: float | None = None
    start: int = 0
    signal: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """What an array file holds."""
        return next(each for each in (self.objects, self.values, self.labels) if each is not None)

    @property
    def counts(self) -> list[int]:
        """Objects of each image."""
        assert self.objects is not None
        return [int(image.max(initial=0)) for image in self.objects]


@dataclass(frozen=True)
class Target:
    """Where a result goes.

    path       : its file, or None where only an annotation is written
    kind       : suffix that decides the format
    annotation : file of the WFDB annotation, or None
    own_rate   : whether the annotation has to tell its rate, because no header does
    """

    path: Path | None
    kind: str
    annotation: Path | None = None
    own_rate: bool = False


def add_arguments(parser: Any) -> None:
    """The arguments that say what is written, and where."""
    parser.add_argument("-o", "--out", metavar="FILE", help="result; the suffix decides: .npy (labels as an array), "
                        ".npz (with rate and names), .csv (waves, or with --instances objects), .parquet (waves), "
                        ".png or .tif (label image); for a folder of inputs a folder (default: <input>_<output>.npy "
                        "right here)")
    parser.add_argument("--format", metavar="SUFFIX", help="the kind of file, where -o does not tell it: for a folder "
                        "of inputs (default csv for signals, png or tif for images), or for /dev/stdout")
    parser.add_argument("--output", choices=OUTPUTS, default="labels",
                        help="what is written: classes, or one number a class in a last axis (default labels)")
    parser.add_argument("--annotations", metavar="EXT", help="write the waves as WFDB annotation <record>.EXT, with "
                        "( p N t ) as in LUDB")
    parser.add_argument("--instances", action="store_true", help="number the connected objects of each image: they are "
                        "written instead of classes, and counted")


def target(arguments: Namespace, source: str, images: bool, folder: str | None = None,
           name: str | None = None) -> Target:
    """Where the result for one input goes, by the command line.

    folder : of the results, where several inputs are run
    name   : that the files of this input begin with

    Raises ValueError, FileNotFoundError, PermissionError, MissingExtra for what cannot be written.
    """
    name, several = name or stem(source), folder is not None
    output = "instances" if arguments.instances else arguments.output
    kind = "." + arguments.format.lower().lstrip(".") if arguments.format else None
    annotation = None
    if arguments.annotations is not None:
        _refuse_annotation(arguments, images)
    if folder is None and arguments.out is not None and Path(arguments.out).is_dir():
        folder = arguments.out
    if folder is not None:
        kind = kind or (None if arguments.annotations else _usual(arguments, images, source) if several else ".npy")
        path = Path(folder) / f"{name}_{output}{kind}" if kind else None
    elif arguments.out is not None:
        path = Path(arguments.out)
        if arguments.annotations and path.suffix == f".{arguments.annotations}":
            path, annotation = None, path
    elif arguments.annotations is not None and kind is None:
        path = None
    else:
        path = Path(f"{name}_{output}{kind or '.npy'}")
    if arguments.annotations is not None and annotation is None:
        beside = Path(folder) if folder is not None else path.parent if path is not None else Path()
        annotation = annotation_path(beside, name, arguments.annotations)
    if path is not None:
        kind = kind or path.suffix.lower()
        _refuse_kind(path, kind, arguments, images)
    for made in (path, annotation):
        if made is not None and not several:                                 # else the folder was looked at once
            refuse_unwritable(made, source, arguments.model)
    own_rate = (Path(source).suffix.lower() not in ("", ".hea", ".dat") and Path(source).is_file()) or \
        (is_address(source) and Path(source).suffix.lower() in (*ARRAYS, *TABLES))
    return Target(path, kind or "", annotation, own_rate)


def stem(source: str) -> str:
    """The name of an input without its suffix."""
    path = Path(source)
    if is_address(source):
        return path.name if path.suffix.lower() not in (*IMAGES, *ARRAYS, *TABLES) else path.stem
    return path.stem if path.is_file() or path.suffix.lower() in (".hea", ".dat") else path.name


def refuse_misfit(target: Target, images: int) -> None:
    """Say before the work starts that a file does not hold so many images. Raises ValueError."""
    if target.kind == ".png" and images > 1:
        raise ValueError(f"cannot write {target.path}: a PNG holds one image, the input has {images}; write a .tif, "
                         "which has pages, or choose one by --index")


def write(target: Target, result: Result) -> list[str]:
    """Write a result; a line about each file."""
    told = []
    if target.path is not None:
        told.append(f"{target.path}: {WRITERS[target.kind](target.path, result)}")
    if target.annotation is not None:
        assert result.labels is not None and result.signal is not None
        marks = wave_marks(result.labels, result.signal, result.class_names, result.start)
        write_annotation(target.annotation, marks, result.fs if target.own_rate else None)
        told.append(f"{target.annotation}: {len(marks) // 3} waves as a WFDB annotation"
                    + (f", channels 0 to {len(result.rows) - 1} are the leads" if len(result.rows) > 1 else ""))
    return told


def write_rows(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows of cells as .csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def _array(path: Path, result: Result) -> str:
    write_npy(path, result.array)
    return _described(result)


def _archive(path: Path, result: Result) -> str:
    name = "instances" if result.objects is not None else result.output
    arrays: dict[str, Any] = {name: result.array, "class_names": np.array(result.class_names),
                              "rows": np.array(result.rows), "start": np.int64(result.start)}
    if result.fs is not None:
        arrays["fs"] = np.float64(result.fs)
    write_npz(path, arrays)
    return f"{_described(result)}, with {', '.join(key for key in arrays if key != name)}"


def _table(path: Path, result: Result) -> str:
    assert result.labels is not None
    if result.objects is not None:
        text, what = object_table(result.objects, result.labels, result.rows, result.class_names), "objects"
    else:
        text, what = wave_table(result.labels, result.fs, result.rows, result.class_names, result.start), "waves"
    write_text(path, text)
    return f"{text.count(chr(10)) - 1} {what}"


def _columns(path: Path, result: Result) -> str:
    assert result.labels is not None
    found = waves(result.labels)
    write_waves(path, found, result.fs, result.rows, result.class_names, result.start)
    return f"{len(found)} waves"


def _image(path: Path, result: Result) -> str:
    write_label_image(path, result.array)
    what = "object numbers" if result.objects is not None else "class numbers, dark in a viewer (--picture is for eyes)"
    return f"{' x '.join(map(str, result.array.shape))} pixels that are {what}"


WRITERS: dict[str, Callable[[Path, Result], str]] = {
    ".npy": _array, ".npz": _archive, ".csv": _table, ".parquet": _columns, ".png": _image, ".tif": _image,
    ".tiff": _image,
}


def _described(result: Result) -> str:
    what = "instances" if result.objects is not None else result.output
    rate = f" at {result.fs:g} Hz" if result.fs is not None else ""
    return f"{what}, {result.array.dtype} {' x '.join(map(str, result.array.shape))}{rate}"


def _usual(arguments: Namespace, images: bool, source: str) -> str:
    """The kind of the results in a folder."""
    if arguments.output != "labels":
        return ".npy"
    own = Path(source).suffix.lower()
    return ".csv" if not images else own if own in (".tif", ".tiff") else ".png"


def _refuse_kind(path: Path, kind: str, arguments: Namespace, images: bool) -> None:
    known = OF_IMAGES if images else OF_SIGNALS
    if kind not in known:
        told = f"the suffix {kind!r} is none of {', '.join(known)}" if kind else \
            f"its suffix decides the format; add one of {', '.join(known)}, or --format"
        hint = "; for a picture of a signal use --picture" if kind in (".png", ".svg", ".tif") and not images else \
            "; for a picture use --picture" if kind == ".svg" else ""
        raise ValueError(f"cannot write {path}: {told}{hint}")
    if kind in (".csv", ".parquet", ".png", ".tif", ".tiff") and arguments.output != "labels":
        raise ValueError(f"cannot write {arguments.output} as {kind}: it holds labels; write .npy or .npz")
    if kind == ".csv" and images and not arguments.instances:
        raise ValueError("a .csv of images lists their objects: add --instances")
    if kind == ".parquet":
        extra("pyarrow", "parquet")
    if kind in (".png", ".tif", ".tiff"):
        try:
            extra("PIL.Image", "image")
        except MissingExtra as error:
            raise MissingExtra(f"{error}, or write .npy, which needs nothing") from None


def _refuse_annotation(arguments: Namespace, images: bool) -> None:
    check_annotator(arguments.annotations)
    if images:
        raise ValueError("--annotations is for signals; the network takes images")
    if arguments.output != "labels":
        raise ValueError(f"--annotations holds labels, not {arguments.output}")
