"""How far a run has come: what a checkpoint keeps beside the step's arrays, and what a person watches."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np


@dataclass
class Progress:
    """The state of a run outside of its weights and optimiser.

    step      : steps done
    losses    : of the steps since the last full epoch
    history   : one row an epoch
    best      : the row with the best score so far
    generator : draws the dropout masks, one step after another
    ended     : why the run is over, or ""
    """

    generator: np.random.Generator
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    ended: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, which keeps every float exactly."""
        return {"step": self.step, "losses": self.losses, "history": self.history, "best": self.best,
                "ended": self.ended, "generator": self.generator.bit_generator.state}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Progress:
        """What to_dict gave."""
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = stored["generator"]
        return cls(generator, int(stored["step"]), list(stored["losses"]), list(stored["history"]), stored["best"],
                   str(stored["ended"]))

    def better(self, row: Mapping[str, Any], metric: str) -> bool:
        """Whether a row beats the best so far; a loss is better when lower. The first row with a number always does."""
        if row[metric] is None:
            return False
        if self.best is None or self.best[metric] is None:
            return True
        return row[metric] < self.best[metric] if metric.endswith("loss") else row[metric] > self.best[metric]


class Bar:
    """A line that shows where a run is: rewritten in place on a terminal, one line an epoch elsewhere."""

    WIDTH = 24

    def __init__(self, steps: int, steps_per_epoch: int, done: int = 0, stream: TextIO | None = None) -> None:
        self.steps, self.per_epoch, self.stream = steps, steps_per_epoch, stream or sys.stderr
        self.live = self.stream.isatty()
        self.begun, self.done, self.shown, self.score = time.monotonic(), done, 0.0, ""

    def update(self, progress: Progress) -> None:
        """After a step: position, mean loss of the epoch so far, last score, speed and time left."""
        now = time.monotonic()
        if self.live and now - self.shown > 0.1:
            self.shown = now
            filled = self.WIDTH * progress.step // self.steps
            speed = (progress.step - self.done) / max(now - self.begun, 1e-9)
            left = (self.steps - progress.step) / max(speed, 1e-9)
            loss = sum(progress.losses) / max(len(progress.losses), 1)
            self.stream.write(f"\r\033[K[{'#' * filled}{'.' * (self.WIDTH - filled)}] step {progress.step}/{self.steps}"
                              f"  loss {loss:.4f}  {self.score}{speed:.1f} steps/s  {clock(left)} left")
            self.stream.flush()

    def epoch(self, progress: Progress) -> None:
        """After an epoch: a line that stays."""
        row = progress.history[-1]
        scores = "  ".join(f"{key} {value:.4f}" for key, value in row.items()
                           if isinstance(value, float) and key not in ("rate", "seconds"))
        self.score = f"val_f1 {row['val_f1']:.4f}  " if row.get("val_f1") is not None else ""
        self.stream.write(f"{chr(13)}{chr(27)}[K" if self.live else "")
        self.stream.write(f"epoch {row['epoch']:3}/{self.steps // self.per_epoch}  {scores}  rate {row['rate']:.2e}  "
                          f"{clock(row['seconds'])}{'  best' if progress.best is row else ''}\n")
        self.stream.flush()


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too: "1:05", "2:00:00"."""
    whole = int(min(seconds, 359999)) if math.isfinite(seconds) else 359999
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
