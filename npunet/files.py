"""Writing files: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip entry can carry


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under its name only when the block ends without an error.

    The bytes go to a temporary file in the same folder, which then replaces `path` in one step; a reader sees the old
    file or the new one, never half of it. A device such as /dev/stdout is written directly.

    Raises FileNotFoundError when the folder does not exist, IsADirectoryError when `path` is one.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {target.parent} does not exist")
    if target.exists() and not target.is_file():
        with open(target, "wb") as file:
            yield file
        return
    temporary = target.with_name(f".{target.name[:100]}.{os.urandom(6).hex()}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with "\\n" line ends on every system."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write one array as .npy atomically, under exactly the given name. Raises ValueError for an array of objects."""
    with atomic_write(path) as file:
        np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write arrays as an uncompressed .npz: equal arrays in equal order give equal bytes on every machine.

    arrays : name -> array, stored in the mapping's order; numpy.load reads them back under these names

    Raises ValueError for an array of objects (nothing is pickled).
    """
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
