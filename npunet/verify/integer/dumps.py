"""What a port of an integer network shows: tensors by case and key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.names import unknown
from npunet.verify import serial_log

ROLES = ("acc", "pre", "out", "fed")


class Words(str):
    """A text of hex words, // comments aside, as $readmemh reads it."""

    def values(self, bits: int) -> np.ndarray:
        """The words as two's complement. Raises ValueError for what is none."""
        words = re.sub(r"//.*", "", self).split()
        wrong = [word for word in words if not re.fullmatch(f"[0-9a-fA-F]{{1,{bits // 4}}}", word)]
        if wrong:
            raise ValueError(f"{wrong[0]!r:.40} is no word of hex digits, at most {bits // 4} for {bits} bits")
        unsigned = [int(word, 16) for word in words]
        return np.array([word - (1 << bits) if word >> (bits - 1) else word for word in unsigned], np.int64)


@dataclass
class Dump:
    """Tensors of a port, each in the golden one's shape, int64.

    values  : by (case, key)
    faults  : what cannot be taken, one line each
    ignored : names that are no tensor of the bundle
    bundle  : fingerprints of the bundles that the outputs say they belong to
    """

    values: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    bundle: set[str] = field(default_factory=set)


def read(outputs: str | PathLike[str], bundle: IntegerBundle, case: str | None = None) -> Dump:
    """Read a file or a folder.

    case : of tensors whose names tell none; the bundle's first by default

    Raises FileNotFoundError, ValueError when there is no tensor of the bundle in it.
    """
    path = Path(outputs)
    if case is not None and case not in bundle.cases:
        raise ValueError(unknown("case", [case], bundle.cases))
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    dump, names = Dump(), _names(bundle)
    for name, values in _tensors(path, bundle, dump):
        key = _key(name, bundle, names, case or next(iter(bundle.cases)))
        if key is None:
            dump.ignored.append(name)
            continue
        taken = _fitted(name, values, bundle, key, dump)
        if taken is not None:
            if key in dump.values:
                dump.faults.append(f"{name}: there are two of {'/'.join(key)}; leave one")
            dump.values[key] = taken
    mine = bundle.fingerprint
    dump.faults += [f"stale: made for the bundle {digest[:16]}, this one is {mine[:16]}; dump this one's cases"
                    for digest in sorted(dump.bundle - {mine})]
    if not dump.values and not dump.faults:
        told = f"; {len(dump.ignored)} other names, such as {dump.ignored[0]}" if dump.ignored else ""
        raise ValueError(f"{path} holds no tensor of the bundle{told}; call them <case>/<layer id>.out as the manifest "
                         "does")
    return dump


def _names(bundle: IntegerBundle) -> dict[str, str]:
    """Layer id by what a tensor may be called."""
    by_name = {layer["name"]: key for key, layer in bundle.layers.items()}
    return {**by_name, **{key: key for key in bundle.layers}, "output_0": bundle.manifest["model"]["output_layer"]}


def _tensors(path: Path, bundle: IntegerBundle, dump: Dump) -> Iterator[tuple[str, bytes | Words | np.ndarray]]:
    """(name, raw bytes or array) of every tensor in a file or folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        stem = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
        try:
            if file.suffix == ".npz":
                with np.load(file, allow_pickle=False) as archive:
                    prefix = next((f"{part}/" for part in stem.split("/") if part in bundle.cases), "")
                    for member in archive.files:
                        yield f"{prefix}{member}", archive[member]
            elif file.suffix == ".npy":
                yield stem, np.load(file, allow_pickle=False)
            elif file.suffix == ".bin":
                yield stem, file.read_bytes()
            elif file.suffix in (".log", ".txt"):
                text = file.read_text(encoding="utf-8", errors="replace")
                entries, faults, digests = serial_log.read_log(text)
                dump.bundle |= digests
                dump.faults += [f"{file.name}, {place}: {what}" for place, what in faults]
                yield from entries
            elif file.suffix in (".mem", ".hex"):
                yield stem, Words(file.read_text(encoding="utf-8"))
            else:
                dump.ignored.append(file.name)
        except (OSError, ValueError, EOFError) as error:
            dump.faults.append(f"{file.name}: cannot be read ({error!s:.80}); dump it again")


def _key(name: str, bundle: IntegerBundle, names: dict[str, str], default: str) -> tuple[str, str] | None:
    """(case, key) of a tensor's name, or None for one that the bundle does not have."""
    case, rest = default, name
    for candidate in bundle.cases:
        at = f"/{name}".find(f"/{candidate}/")
        if at >= 0:
            case, rest = candidate, f"/{name}"[at + len(candidate) + 2 :]
    if rest in ("in", "input_0"):
        return case, "in"
    stem, dot, role = rest.rpartition(".")
    if not dot or role not in ROLES or stem not in names:
        stem, role = rest, "out"
    if stem not in names:
        return None
    key = f"{names[stem]}.{role}"
    return (case, key) if role == "fed" or f"{case}/{key}" in bundle.tensors else None


def _fitted(name: str, values: bytes | Words | np.ndarray, bundle: IntegerBundle, key: tuple[str, str],
            dump: Dump) -> np.ndarray | None:
    """The values in the golden tensor's shape, or None with a fault told."""
    case, tensor = key
    record = bundle.tensors[f"{case}/{tensor.removesuffix('.fed') + '.out' if tensor.endswith('.fed') else tensor}"]
    shape, dtype = tuple(record["shape"]), np.dtype(record["dtype"])
    if isinstance(values, bytes):
        if len(values) != record["bytes"]:
            dump.faults.append(f"{name}: {len(values)} bytes, the golden tensor {shape} of {dtype} has "
                               f"{record['bytes']}; dump every sample, in this type")
            return None
        return np.frombuffer(values, dtype.newbyteorder("<")).reshape(shape).astype(np.int64)
    if isinstance(values, Words):
        try:
            values = values.values(8 * dtype.itemsize)
        except ValueError as error:
            dump.faults.append(f"{name}: {error}; write it as the bundle's hex/ has it")
            return None
    if values.dtype.kind not in "iu":
        dump.faults.append(f"{name}: dtype {values.dtype}; a bundle of integers is compared with integers, {dtype}: "
                           "dump them before they become real numbers")
        return None
    if values.size != int(np.prod(shape)):
        dump.faults.append(f"{name}: shape {values.shape} does not hold the {shape} of the golden tensor; dump every "
                           "sample")
        return None
    return values.astype(np.int64).reshape(shape)
