"""A picture of a run: loss and scores by epoch."""

from __future__ import annotations

import os
from typing import Any

from npunet.evaluate.signal_layout import GRID, PALETTE
from npunet.extras import MissingExtra, extra
from npunet.files import atomic_write


def draw_curves(path: str | os.PathLike[str], history: list[dict[str, Any]]) -> str:
    """Draw the history into a .png, if matplotlib is there. Returns what was done, in words."""
    if not history:
        return "no curves: no epoch has ended"
    try:
        figure = extra("matplotlib.figure", "plot").Figure(figsize=(9, 3.4), dpi=120)
    except MissingExtra as missing:
        return f"no curves drawn: {missing}"
    for axes, kinds in zip(figure.subplots(1, 2), (("loss", "val_loss"), ("val_f1", "val_iou")), strict=True):
        for colour, kind in zip(PALETTE, kinds, strict=False):
            rows = [row for row in history if row.get(kind) is not None]
            axes.plot([row["epoch"] for row in rows], [row[kind] for row in rows], color=colour, label=kind, marker=".")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color=GRID, linewidth=0.8)
        axes.legend(frameon=False)
    figure.tight_layout()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
    return f"drew {os.fspath(path)}"
