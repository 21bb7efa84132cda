"""Checkpoints: one .npz with everything that a run needs to go on as if it had never stopped.

Arrays "weights/<name>" and "optimiser/<name>" (see step.Step.state; average.Averaged adds more), and "checkpoint.json"
with the settings, the subjects of each part and the progress: step, losses, history, generator. No pickle. Each file is
written under another name and then put in place at once, so that a kill at any moment leaves the file before or the
file after.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet.files import remove_leftovers, write_npz, write_text
from npunet.reading import json_object, npz, read_all, reading, text_of
from npunet.train.diagnose import Diverged
from npunet.train.progress import Progress

ENTRY = "checkpoint.json"
FORMAT = 1


def write_checkpoint(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], told: Mapping[str, Any]) -> None:
    """Write arrays and a JSON object, atomically."""
    write_npz(path, {ENTRY: np.array(json.dumps({"format": FORMAT, **told})), **arrays})


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What write_checkpoint wrote. Raises FileNotFoundError, ValueError for any other or a damaged file."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no checkpoint {path}")
    with reading(path, "is not a whole checkpoint of npunet"), npz(path) as stored:
        if ENTRY not in stored:
            raise ValueError("it has no entry checkpoint.json")
        told, arrays = json_object(text_of(stored[ENTRY])), read_all(stored, passing=[ENTRY])
    if told.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is a checkpoint of another format than {FORMAT}; go on with the npunet that wrote it")
    return arrays, told


class Keeper:
    """Writes a run's folder: last.npz, best.npz, history.csv, history.json.

    folder : of the run, made if need be
    told   : JSON that every checkpoint keeps: the settings, where the data was, the subjects of each part
    every  : seconds after which a checkpoint is due within an epoch
    """

    def __init__(self, folder: str | os.PathLike[str], told: Mapping[str, Any], every: float = 60.0) -> None:
        self.folder, self.told, self.every = Path(folder), dict(told), every
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        self.saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is so old that another should be written."""
        return time.monotonic() - self.saved > self.every

    def save(self, state: Mapping[str, np.ndarray], progress: Progress, best: bool = False) -> None:
        """Write the checkpoint, and the history as tables. Raises Diverged when a weight is not finite."""
        spoiled = [name for name, value in state.items() if not np.isfinite(value).all()]
        if spoiled:
            raise Diverged(f"after step {progress.step} {spoiled[0]} is not finite; the checkpoint before is kept")
        told = {**self.told, "progress": progress.to_dict()}
        for name in ("best.npz", "last.npz") if best else ("last.npz",):
            write_checkpoint(self.folder / name, state, told)
        write_text(self.folder / "history.json", json.dumps(progress.history, indent=1) + "\n")
        write_text(self.folder / "history.csv", as_csv(progress.history))
        self.saved = time.monotonic()


def as_csv(history: list[dict[str, Any]]) -> str:
    """Rows as CSV with a header; what is None is empty."""
    if not history:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return out.getvalue()
