"""Files that a verb writes: what could not be written, or stands for what is read, is refused before the work."""

from __future__ import annotations

import os
from argparse import Namespace
from itertools import combinations
from pathlib import Path

WRITTEN = ("out", "picture", "report", "json", "junit", "html", "log")       # arguments that name a file to write
READ = ("model", "input", "calibrate", "compare", "claims", "data", "labels", "bundle", "outputs", "config", "weights")


def refuse_unwritable(path: str | os.PathLike[str], *kept: str) -> None:
    """Say before the work starts that a file could not be written. Raises OSError of the kind that fits.

    kept : files that it must not be
    """
    target = Path(os.path.realpath(path))
    for other in kept:
        if target.is_file() and Path(other).is_file() and os.path.samefile(target, other):
            raise FileExistsError(f"{path} would be written over itself: it is what is read; choose another name")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {target.parent} does not exist")
    device = target.exists() and not target.is_file()
    if not os.access(target if device else target.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission to write into {target.parent}")


def refuse_all(arguments: Namespace) -> None:
    """The same of every file that a verb was told to write: none may be what is read, or what another one is.

    Raises OSError of the kind that fits, ValueError where two are one.
    """
    given = vars(arguments)
    written = [given[name] for name in WRITTEN if isinstance(given.get(name), str)]
    read = [given[name] for name in READ if isinstance(given.get(name), str)]
    for path in written:
        refuse_unwritable(path, *read)
        if any(Path(path).is_file() and Path(path).resolve().is_relative_to(Path(folder).resolve())
               for folder in (given.get("bundle"), given.get("outputs")) if folder and Path(folder).is_dir()):
            raise FileExistsError(f"{path} would be written over a file of what is verified; choose another name")
    refuse_twice(arguments)


def refuse_twice(arguments: Namespace) -> None:
    """Raise ValueError where one file is named for two results."""
    given = vars(arguments)
    for one, other in combinations([given[name] for name in WRITTEN if isinstance(given.get(name), str)], 2):
        if os.path.realpath(one) == os.path.realpath(other) and not _is_device(one):
            raise ValueError(f"{one} is named for two results; give each a file of its own")


def _is_device(path: str) -> bool:
    return Path(path).exists() and not Path(path).is_file()
