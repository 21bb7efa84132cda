"""What kind of model a file holds, told by its first bytes or its list of members; imports no reader."""

from __future__ import annotations

import os
import zipfile
from os import PathLike

from npunet.reading import opened_zip, reading

HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file
ZIP = b"PK"  # of a .npz
TFLITE = b"TFL3"  # bytes 4 to 7 of a .tflite
INTEGER_DESCRIPTION = "npunet-integer.json"  # member of an integer network's .npz


def is_tflite(path: str | PathLike[str]) -> bool:
    """Whether a file has the mark of a .tflite, or its suffix and no other mark. Raises FileNotFoundError."""
    with open(path, "rb") as file:
        first = file.read(8)
    named = os.fspath(path).lower().endswith(".tflite")
    return first[4:] == TFLITE or (named and not first.startswith((ZIP, HDF5)))


def is_integer_archive(path: str | PathLike[str]) -> bool:
    """Whether a file is an integer network's .npz. Raises FileNotFoundError."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no such file: {path}")
    if not zipfile.is_zipfile(path):
        return False
    with reading(path, "is not a model that npunet saved"), opened_zip(path) as archive:
        return f"{INTEGER_DESCRIPTION}.npy" in archive.namelist()
