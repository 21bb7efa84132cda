"""Reading files that may be damaged or hostile: a fault becomes one line, and no size is believed before it is seen.

FAULTS lists all that reading a file can raise, once for every reader: zip flags, methods and headers, deflate and LZMA
streams, NumPy's headers, JSON's depth, text that is no UTF-8, keys that are missing, numbers that overflow. `reading`
turns any of them into an Unreadable (a ValueError) with the file's name, what is wrong and the way out:

    with reading(path, "is not a model that npunet saved"):
        description = json_object(path.read_bytes())
        with npz(path) as arrays:                          # headers are read and checked, nothing is allocated
            weights = {name: array.read() for name, array in arrays.items()}
"""

from __future__ import annotations

import csv
import json
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from math import prod
from typing import IO, Any

import numpy as np

from npunet import memory
from npunet.damage import told
from npunet.stored import Stored

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it
    LZMAError = EOFError  # type: ignore[assignment, misc]

FAULTS: tuple[type[BaseException], ...] = (
    ArithmeticError,  # overflow, division by zero
    AttributeError,  # null where an object was meant
    BufferError,
    EOFError,
    LookupError,  # missing keys, indices
    LZMAError,
    MemoryError,
    OSError,
    RuntimeError,  # encrypted, not implemented, nested too deeply
    SyntaxError,  # NumPy's headers are Python literals
    TypeError,
    ValueError,  # Unicode, JSON, numbers of thousands of digits
    Warning,  # where warnings are errors
    csv.Error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
)
NOT_THERE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # these speak for themselves
WAY_OUT = "take a whole copy of it, or make it again"
BOMB, MOST_COMPRESSED = 2**26, 20  # bytes; trained weights compress to no less than a half
NPY = b"\x93NUMPY"
END_OF_ZIP = b"PK\x05\x06"
END_SIZE, MOST_COMMENT = 22, 2**16
FILES_AT, MANY_FILES = 10, 0xFFFF  # of the end: how many files there are, and what stands there for more


class Unreadable(ValueError):
    """A file that cannot be read: its name, what is wrong, the way out."""


@contextmanager
def reading(path: str | os.PathLike[str], is_not: str = "cannot be read", way_out: str = WAY_OUT) -> Iterator[None]:
    """Let whatever reading a file raises be one Unreadable: "<path> <is_not>: <what is wrong>; <way_out>".

    That a file is missing, a folder or closed to this user passes through, and so does an Unreadable from within.
    """
    try:
        yield
    except (Unreadable, *NOT_THERE):
        raise
    except FAULTS as error:
        raise Unreadable(f"{os.fspath(path)} {is_not}: {told(error, arrays=False)}; {way_out}") from None


# JSON ---------------------------------------------------------------------------------------------------------------

def parse_json(text: str | bytes) -> Any:
    """What JSON text says. Raises ValueError when it is none, nested too deeply, or gives a key of an object twice."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_object(text: str | bytes) -> dict[str, Any]:
    """What JSON text says that holds an object. Raises ValueError."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {_kind(value)}, not an object")
    return value


def read_json(path: str | os.PathLike[str], is_not: str = "is not JSON", way_out: str = "mend it") -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError, Unreadable."""
    with reading(path, is_not, way_out), open(path, "rb") as file:
        memory.require(8 * os.fstat(file.fileno()).st_size, "reading it", "take a smaller file")
        return json_object(file.read())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r:.80} twice; leave one out")
    return made


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


# Arrays -------------------------------------------------------------------------------------------------------------

def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a .npy file; nothing is unpickled. Raises FileNotFoundError, Unreadable."""
    with reading(path, "cannot be read as an array"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        shape, fortran, dtype = npy_header(file)
        stored = _stored(partial(nullcontext, file), shape, fortran, dtype, file.tell(), size)
        file.seek(0)
        return stored.read()


@contextmanager
def npz(path: str | os.PathLike[str], only: str | None = None) -> Iterator[dict[str, Stored]]:
    """The arrays of an .npz archive by name, or only the one of a name, open as long as the block runs.

    Their headers are read and compared with the sizes that the archive gives: what an array declares is there, or this
    raises. Reading an array to its end checks its CRC-32. Use it within `reading`: it raises any of FAULTS.
    """
    with open(path, "rb") as file:
        if file.read(len(NPY)) == NPY:
            raise ValueError("it is a single array")
    with opened_zip(path) as archive:
        yield _members(archive, only)


def _members(archive: zipfile.ZipFile, only: str | None) -> dict[str, Stored]:
    arrays: dict[str, Stored] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            raise ValueError(f"{name!r:.80} is not an array")
        if name in arrays:
            raise ValueError(f"it has the array {name!r:.80} twice")
        if only not in (None, name):
            continue
        with archive.open(info.filename) as member:
            shape, fortran, dtype = npy_header(member)
            arrays[name] = _stored(partial(archive.open, info.filename), shape, fortran, dtype, member.tell(),
                                   info.file_size)
    return arrays


def read_all(arrays: Mapping[str, Stored], passing: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Every array but those of the names `passing`. Raises ValueError where they do not fit in memory together."""
    wanted = {name: array for name, array in arrays.items() if name not in passing}
    memory.require(sum(array.nbytes for array in wanted.values()), "reading it", "take a smaller file, or more memory")
    return {name: array.read() for name, array in wanted.items()}


def refuse_bomb(declared: int, size: int) -> None:
    """Raise ValueError where a file of `size` bytes declares far more than numbers of a network compress to."""
    if declared > BOMB and declared > MOST_COMPRESSED * size:
        raise ValueError(f"it declares {memory.told(declared)} in a file of {memory.told(size)}, which is no network")


def text_of(stored: Stored) -> str:
    """The text that stands in an archive as an array of one string. Raises ValueError."""
    if stored.shape != () or stored.dtype.kind != "U":
        raise ValueError(f"its description is an array of shape {stored.shape} and dtype {stored.dtype}, not a text")
    return str(stored.read())


@contextmanager
def opened_zip(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose directory is whole: zipfile takes what it finds of it, and passes over the rest.

    Use it within `reading`: it raises any of FAULTS.
    """
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        told = _announced(file)
        if len(archive.infolist()) != told != MANY_FILES:
            raise zipfile.BadZipFile(f"its end speaks of {told} files, its directory of {len(archive.infolist())}")
        yield archive


def zip_comment(path: str | os.PathLike[str]) -> bytes:
    """What a zip archive says of itself; empty for any other file. Raises FileNotFoundError, and any of FAULTS."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return b""
    with opened_zip(path) as archive:
        return archive.comment


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and dtype of an array in NumPy's form, which begins here.

    Raises ValueError for objects, for elements without a size, and for a shape that is none.
    """
    head: Any = np.lib.format
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged header is Python source that the compiler may warn of
        try:
            version = head.read_magic(file)
            read = head.read_array_header_1_0 if version == (1, 0) else head.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"it holds no array in NumPy's form ({told(error)})") from None
    if dtype.hasobject or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise ValueError(f"it is not a file of plain arrays: one holds {dtype}")
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise ValueError(f"an array has the shape {shape!r:.80}")
    return shape, fortran, dtype


def _stored(opened: Callable[[], Any], shape: tuple[int, ...], fortran: bool, dtype: np.dtype, head: int,
            size: int) -> Stored:
    """An array whose header takes `head` of `size` bytes. Raises ValueError unless the rest is the array."""
    needed = prod(shape) * dtype.itemsize
    if needed != size - head:
        more = "more" if needed < size - head else "fewer"
        raise ValueError(f"it declares an array of shape {shape!r:.80} and dtype {dtype}, {needed} bytes, and has "
                         f"{more}: {size - head}")

    def load() -> np.ndarray:
        with opened() as file:
            if len(file.read(head)) != head:
                raise EOFError("it ends before its array begins")
            raw = np.empty(needed, np.uint8)
            view, filled = raw.data, 0
            while filled < needed:
                got = file.readinto(view[filled:])
                if not got:
                    raise EOFError(f"it ends after {filled} of {needed} bytes of an array")
                filled += got
            if file.read(1):  # a zip member is checked against its CRC-32 once its end was seen
                raise ValueError("it has more bytes than its array")
        return raw.view(dtype).reshape(shape, order="F" if fortran else "C")

    return Stored(tuple(shape), dtype, load)


def _announced(file: IO[bytes]) -> int:
    """How many files the end of an archive announces.

    Raises BadZipFile unless the archive's comment ends where the file does, which zipfile does not look at.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_SIZE - MOST_COMMENT))
    tail = file.read()
    at = tail.rfind(END_OF_ZIP)
    if at < 0 or len(tail) - at != END_SIZE + struct.unpack_from("<H", tail, at + END_SIZE - 2)[0]:
        raise zipfile.BadZipFile("its end is not the end of an archive")
    return int(struct.unpack_from("<H", tail, at + FILES_AT)[0])
