"""Reading a port's outputs: files of several forms to raw tensors by (case, key); the forms are in verify's docstring.

Nothing here trusts a file: what cannot be read becomes a Fault with the reason, never an exception and never a value.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from npunet.damage import told
from npunet.golden.manifest import fit_for_files
from npunet.golden.names import unknown
from npunet.golden.reader import Bundle
from npunet.reading import FAULTS, opened_zip
from npunet.verify import forms, serial_log, tflm

SPARE = 1 << 16  # bytes that a file's head may take besides its numbers
SUFFIXES = (".npz", ".npy", ".bin", ".mem", ".hex", ".log", ".txt", ".json")
Place = tuple[str, str]


@dataclass(frozen=True)
class Fault:
    """Something in the outputs that is not as it must be."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Raw:
    """One tensor as it was found: an array with a shape, or bare bytes (little-endian words, row-major)."""

    value: np.ndarray | bytes
    source: str


@dataclass
class Dump:
    """What was found in the outputs.

    tensors : by (case id, key)
    faults  : what could not be read
    ignored : names that the bundle does not know
    bundle  : digests of the bundles that the outputs say they belong to
    port    : what the port declares of itself, words of serial_log.DECLARATIONS
    """

    tensors: dict[Place, Raw] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    bundle: set[str] = field(default_factory=set)
    port: set[str] = field(default_factory=set)

    def put(self, place: Place | None, value: np.ndarray | bytes, source: str) -> None:
        """Take one tensor; place None: its name says nothing."""
        if place is None:
            self.ignored.append(source)
        elif place not in self.tensors:
            self.tensors[place] = Raw(value, source)
        elif _bytes(value) != _bytes(self.tensors[place].value):  # the same numbers in two forms do no harm
            before = self.tensors[place].source
            self.faults.append(Fault(source, f"{'/'.join(place)} was given before, with other numbers, in {before}"))


def _bytes(value: np.ndarray | bytes) -> bytes:
    return value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()


class Names:
    """From names in a dump to (case, key): keys, layer ids, layer names, each with or without "<case>/" before it."""

    def __init__(self, bundle: Bundle, case: str | None) -> None:
        self.bundle = bundle
        first = next(
            (key for key, found in bundle.cases.items() if found["scope"] == "network"), next(iter(bundle.cases), "")
        )
        if case is not None and case not in bundle.cases:
            raise ValueError(unknown("case", [case], bundle.cases))
        self.default = case or first
        self.aliases: dict[str, str] = {}
        for layer in bundle.layers.values():
            for name in (layer["id"], layer["name"], fit_for_files(layer["name"])):
                self.aliases.setdefault(name, f"{layer['id']}.out")
                for role in ("out", "acc", "pre"):
                    self.aliases.setdefault(f"{name}.{role}", f"{layer['id']}.{role}")
        output = bundle.manifest["model"]["output"]
        if output is not None:
            self.aliases |= {name: f"{output}.out" for name in ("out", "output_0") if name not in self.aliases}
        self.aliases |= {name: "in" for name in ("input", "input_0") if name not in self.aliases}

    def place(self, name: str, folder: tuple[str, ...] = ()) -> Place | None:
        """Where a tensor called `name` in sub-folders `folder` belongs, or None."""
        parts = name.split("/")
        splits = [(parts[k - 1], "/".join(parts[k:])) for k in range(len(parts) - 1, 0, -1)]  # layers' names may have /
        around = next((part for part in reversed(folder) if part in self.bundle.cases), self.default)
        for case, text in (*(split for split in splits if split[0] in self.bundle.cases), (around, name)):
            for key in (text, self.aliases.get(text)):
                if key is not None and f"{case}/{key}" in self.bundle.tensors:
                    return case, key
        return None


def read(outputs: str | PathLike[str], bundle: Bundle, case: str | None = None) -> Dump:
    """Read a file, or every file of a known suffix below a folder.

    case : of tensors whose name tells none; the bundle's first network case by default

    Raises ValueError when there is nothing at all to compare, FileNotFoundError.
    """
    root, names, dump = Path(outputs), Names(bundle, case), Dump()
    if not root.exists():
        raise FileNotFoundError(f"no such file or folder: {outputs}")
    if not root.is_dir() and not root.is_file():
        raise ValueError(f"{outputs} is neither a file nor a folder")
    if root.is_dir():
        os.listdir(root)                                                     # raises where it is closed to this user
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    for path in files:
        folder = path.relative_to(root).parts[:-1] if root.is_dir() else ()
        where = path.relative_to(root).as_posix() if root.is_dir() else path.name
        if path.suffix.lower() not in SUFFIXES and root.is_dir():
            dump.ignored.append(where)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _read_file(path, where, folder, names, dump)
        except FAULTS as error:
            dump.faults.append(Fault(where, f"cannot be read: {told(error)}"))
    if not dump.tensors and not dump.faults:
        known = next(iter(bundle.tensors), "case/key")
        raise ValueError(
            f"{outputs} holds no tensor of this bundle; name them as the bundle does, such as {known}"
            + (f" (found {', '.join(dump.ignored[:3])})" if dump.ignored else "")
        )
    return dump


def _read_file(path: Path, where: str, folder: tuple[str, ...], names: Names, dump: Dump) -> None:
    suffix, stem = path.suffix.lower(), path.name[: -len(path.suffix)] if path.suffix else path.name
    if suffix == ".npz":
        _read_npz(path, where, (*folder, stem), names, dump)
        return
    if suffix in (".log", ".txt", ".json"):
        text = path.read_text(encoding="utf-8", errors="replace")
        entries, faults, digests = (tflm.read_tflm if suffix == ".json" else serial_log.read_log)(text)
        said, wrong = (set(), []) if suffix == ".json" else serial_log.declared(text)
        dump.bundle |= digests
        dump.port |= said
        dump.faults += [Fault(f"{where}, {place}", what) for place, what in (*faults, *wrong)]
        for name, value in entries:
            dump.put(names.place(name, (*folder, stem)), value, f"{where}, {name}")
        return
    place = names.place(stem, folder)
    if place is None:
        dump.ignored.append(where)
        return
    size = 8 * prod(names.bundle.tensors["/".join(place)]["shape"])
    if path.stat().st_size > 8 * size + SPARE:  # a word of text takes at most 11 bytes, a double 8
        dump.faults.append(Fault(where, f"has {path.stat().st_size} bytes, far more than {'/'.join(place)}"))
    elif suffix == ".npy":
        with open(path, "rb") as file:
            dump.put(place, read_npy(file, size), where)
    elif suffix == ".bin":
        dump.put(place, path.read_bytes(), where)
    else:
        digits = 2 * np.dtype(names.bundle.tensors["/".join(place)]["dtype"]).itemsize
        dump.put(place, forms.read_mem(path.read_text(encoding="utf-8", errors="strict"), digits), where)


def _read_npz(path: Path, where: str, folder: tuple[str, ...], names: Names, dump: Dump) -> None:
    with opened_zip(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == "bundle":
                with archive.open(info) as file:
                    dump.bundle.add(str(read_npy(file, SPARE)))
                continue
            place = names.place(name, folder)
            if place is None:
                dump.ignored.append(f"{where}, {name}")
                continue
            size = 8 * prod(names.bundle.tensors["/".join(place)]["shape"])
            try:
                if info.file_size > size + SPARE:
                    raise ValueError(f"has {info.file_size} bytes, far more than {'/'.join(place)}")
                with archive.open(info) as file:
                    dump.put(place, read_npy(file, size), f"{where}, {name}")
            except FAULTS as error:
                dump.faults.append(Fault(f"{where}, {name}", f"cannot be read: {told(error)}"))


def read_npy(file: IO[bytes], most: int) -> np.ndarray:
    """One array in NumPy's form, of at most `most` bytes. Raises ValueError, also when bytes are missing or left."""
    head: Any = np.lib.format
    version = head.read_magic(file)
    shape, fortran, dtype = (head.read_array_header_1_0 if version == (1, 0) else head.read_array_header_2_0)(file)
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"holds {dtype}, not numbers")
    if any(not isinstance(extent, int) or extent < 0 for extent in shape):
        raise ValueError(f"has the shape {shape}")
    size = prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"has the shape {shape} of {dtype}, far more than expected")
    raw = file.read(size + 1)
    if len(raw) != size:
        raise ValueError(
            f"has the shape {shape} of {dtype} but {'more' if len(raw) > size else len(raw)} bytes instead of {size}"
        )
    return np.ndarray(shape, dtype, io.BytesIO(raw).getbuffer(), order="F" if fortran else "C")
