"""Writing files: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows, where an open file can be neither removed nor renamed
    fcntl = None  # type: ignore[assignment]

LEFT_ALONE = 3600.0  # seconds after which a temporary counts as left where no lock tells; writing takes less
NO_ROOM = frozenset((errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)))
TEMPORARY = re.compile(r"\.npunet[-.]")
LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.npunet\.tmp")
HERE, EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
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
    remove_leftovers(target.parent)
    with naming(path), _new_temporary(target.parent) as (temporary, descriptor):
        with open(descriptor, "w+b", closefd=False) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not fcntl:
            os.close(descriptor)
        os.replace(temporary, target)
        _settle(target.parent)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an error of writing name what was to be written, and not the temporary, or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM or TEMPORARY.search(str(error.filename)):
            error.filename = os.fspath(path)
        raise


def replace_folder(made: Path, target: Path) -> None:
    """Put a folder in the place of another, which goes: whoever looks, at any moment, sees the one or the other.

    made : on the file system of `target`

    Where the system cannot exchange two names at once (all but Linux), there is a moment without either.
    """
    if not target.exists():
        os.replace(made, target)
    elif exchanged(made, target):
        shutil.rmtree(made)
    else:
        shutil.move(target, made.with_name(f"{made.name}.old"))
        os.replace(made, target)
    _settle(target.parent)


def exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, if the system can. Raises OSError when it can but may not."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed saves left in a folder: temporaries by our kind of name that no process holds a lock on."""
    for entry in list(os.scandir(folder)):
        if not LEFTOVER.fullmatch(entry.name):
            continue
        try:
            descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue  # somebody else's, or gone
        if fcntl and _locked(descriptor):  # a lock that ends once the name is gone
            _remove(Path(entry.path))
        os.close(descriptor)
        if not fcntl and time.time() - os.stat(entry.path).st_mtime > LEFT_ALONE:
            _remove(Path(entry.path))


@contextmanager
def _new_temporary(folder: Path) -> Iterator[tuple[Path, int]]:
    """A file of our own with a descriptor that is locked as long as the block runs; gone afterwards."""
    while True:
        temporary = folder / f".{os.urandom(8).hex()}.npunet.tmp"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if _locked(descriptor) and temporary.exists():
            break
        os.close(descriptor)  # between its making and its lock another save took it for a leftover
    try:
        yield temporary, descriptor
    finally:
        with suppress(OSError):  # closed before it was renamed
            os.close(descriptor)
        _remove(temporary)


def _locked(descriptor: int) -> bool:
    """Take the lock of an open file, which ends with its process. False where another process holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _remove(temporary: Path) -> None:
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
        return
    with suppress(OSError):  # not ours to remove, or open in another process of a system where that forbids it
        temporary.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Let the new name in a folder last through a loss of power."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a system that opens no folders
        return
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with "\\n" line ends on every system."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write one array as .npy atomically, under exactly the given name. Raises ValueError for an array of objects."""
    with atomic_write(path) as file:
        np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any], comment: bytes = b"") -> None:
    """Write arrays as an uncompressed .npz: equal arrays in equal order give equal bytes on every machine.

    arrays  : name -> array, stored in the mapping's order; numpy.load reads them back under these names
    comment : of the archive

    Raises ValueError for an array of objects (nothing is pickled).
    """
    with atomic_write(path) as file:
        pack_npz(file, arrays, comment)


def pack_npz(file: IO[bytes], arrays: Mapping[str, Any], comment: bytes = b"") -> None:
    """Write arrays as an .npz into an open binary file, as write_npz does."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
        archive.comment = comment
