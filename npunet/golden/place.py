"""Where a bundle is put: made beside its place, exchanged with the old one in one step, nothing foreign touched.

An old bundle is replaced only if every file in it is one that its SHA256SUMS lists, unchanged: a folder of another
tool, a note or a filled-in port.c is refused. The new bundle is written into a scratch folder `.NAME.npunet-XXXX`
beside NAME and then exchanged with the old one; where the system cannot exchange, the old one is renamed aside, the new
one renamed in. A run that is killed at any moment leaves the old or the new bundle whole; what it leaves besides, the
next run removes (a lock on the scratch folder tells whether the run that made it is still alive).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npunet.files import exchanged, naming

try:
    import fcntl
except ImportError:  # Windows: no lock is known, so that what a killed run left stays
    fcntl = None  # type: ignore[assignment]

MARK = ".npunet-"
NEW, OLD = "new", "old"


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A folder to make a bundle in, which is put into the target's place when the block ends without an error.

    target : where the bundle shall be; its parent is made

    Raises FileExistsError, before the block and again after it, when something else than a whole bundle is there.
    """
    place = Path(os.path.realpath(target))
    refuse_other_folders(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    clean(place)
    with naming(target), _scratch(place) as scratch:
        (scratch / NEW).mkdir()
        yield scratch / NEW
        refuse_other_folders(place)
        _exchange(scratch, place)


def refuse_other_folders(target: Path) -> None:
    """Raise FileExistsError unless the folder is new, empty, or holds a bundle and nothing else."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise FileExistsError(f"{target} exists and is no folder; give a new one")
    if not any(target.iterdir()):
        return
    if not _is_ours(target):
        raise FileExistsError(f"{target} exists and is no golden bundle; give a new folder")
    foreign = foreign_file(target)
    if foreign:
        raise FileExistsError(f"{target} holds {foreign}: it would be lost; move it away, or give a new folder")


def _is_ours(folder: Path) -> bool:
    try:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("generator") == "npunet" and (folder / "SHA256SUMS").is_file()


def foreign_file(folder: Path) -> str | None:
    """The first file of a bundle's folder that its SHA256SUMS does not list or that was changed, in words, or None."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_dir() and not path.is_symlink()) or name == "SHA256SUMS":
            continue
        if name not in listed or path.is_symlink() or not path.is_file():
            return f"{name}, which is not the bundle's"
        if hashlib.sha256(path.read_bytes()).hexdigest() != listed[name]:
            return f"{name}, which was changed since the bundle was made"
    return None


def clean(target: Path) -> None:
    """Remove what killed runs left beside a target; bring back an old bundle that one of them had put aside."""
    for scratch in sorted(target.parent.glob(f".{_escaped(target.name)}{MARK}*")):
        lock = None if scratch.is_symlink() or not scratch.is_dir() else _lock(scratch, wait=False)
        if lock is None:
            continue
        if (scratch / OLD).is_dir() and not os.path.lexists(target):
            (scratch / OLD).rename(target)
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(lock)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A locked scratch folder beside a place, removed in the end."""
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}{MARK}", dir=place.parent))
        lock = _lock(scratch, wait=True)
        if scratch.is_dir():  # else another run took it for one that was left, before it was locked
            break
        if lock is not None:
            os.close(lock)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, wait: bool) -> int | None:
    """Lock a folder; the file descriptor that holds the lock, or None where that cannot be had."""
    if fcntl is None:
        return None
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return descriptor
    except OSError:  # held by a run that is alive, or a file system without locks
        if descriptor >= 0:
            os.close(descriptor)
        return None


def _exchange(scratch: Path, place: Path) -> None:
    """Put scratch/new into its place; what was there stands in the scratch folder then."""
    if not os.path.lexists(place):
        (scratch / NEW).rename(place)
    elif not exchanged(scratch / NEW, place):
        place.rename(scratch / OLD)
        (scratch / NEW).rename(place)
