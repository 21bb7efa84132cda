"""HDF5 files that cannot be trusted: opened only after a look at what the library would follow without an end.

A heap object of an absurd size makes HDF5 2.0 walk a global heap (where texts of any length stand) for ever, and no
signal reaches it there.
Source: HDF5 File Format Specification 3.0, section III.E, "Global Heap".
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from npunet.extras import extra
from npunet.formats.kinds import HDF5

MAGIC = HDF5
COLLECTION, HEAD, ENTRY = b"GCOL", struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")


@contextmanager
def opened(source: str | os.PathLike[str] | Any) -> Iterator[Any]:
    """An h5py.File of a path or of a file in memory, to be read. Raises ValueError, and any of reading.FAULTS."""
    h5py = extra("h5py", "keras")
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            check_heaps(content)
    else:
        check_heaps(source.getbuffer())
    with h5py.File(source, "r") as file:
        yield file


def check_heaps(content: Any) -> None:
    """Raise ValueError for a global heap whose objects do not lie one behind another within it."""
    data = memoryview(content)
    try:
        whole = data.tobytes() if data.nbytes < 2**24 else content  # find is what a memoryview lacks
        at = -1
        while (at := whole.find(COLLECTION, at + 1)) >= 0:
            if at % 8 == 0:  # otherwise these letters are data
                _check_heap(data, at)
    finally:
        data.release()


def _check_heap(data: memoryview, at: int) -> None:
    if at + HEAD.size > data.nbytes:
        raise ValueError("it ends within a heap")
    _, version, size = HEAD.unpack_from(data, at)
    if version != 1:
        return  # data that looks like one
    end, place = at + size, at + HEAD.size
    if end > data.nbytes:
        raise ValueError(f"a heap of {size} bytes leaves the file")
    while place + ENTRY.size <= end:
        number, _, length = ENTRY.unpack_from(data, place)
        if number == 0:  # the space that is left, this head included
            if not ENTRY.size <= length <= end - place:
                raise ValueError(f"a heap of {size} bytes has {length} free ones")
            return
        place += ENTRY.size + -(-length // 8) * 8
    if place > end:
        raise ValueError("an object leaves its heap")
