"""Where data sets lie: named on the command line, or by the environment variable NPUNET_DATA."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "NPUNET_DATA"


def data_folder(kind: str, marker: str, given: str | os.PathLike[str] | None = None) -> Path:
    """Find a data set: the folder that holds it, or its parent, from `given` or else the variable NPUNET_DATA.

    kind   : name of the data set and of its folder in a parent ("ludb", "nuclei")
    marker : file that marks the data set ("RECORDS")

    Raises FileNotFoundError that says where to look and how to name the folder.
    """
    root = os.environ.get(VARIABLE) if given is None else os.fspath(given)
    if not root:
        raise FileNotFoundError(f"no {kind} data: name its folder by --data or the environment variable {VARIABLE}")
    for folder in (Path(root), Path(root) / kind):
        if (folder / marker).is_file():
            return folder
    raise FileNotFoundError(
        f"no {kind} data in {root}: {marker} is neither there nor in {Path(root) / kind}; "
        f"name the folder by --data FOLDER or the environment variable {VARIABLE}"
    )
