"""A word about input that nobody can segment: all gap, all zero, all one value."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np


def warn_of_flat(what: str, rows: np.ndarray, names: Sequence[str], kind: str = "lead") -> None:
    """Warn of each row of an array (rows, ...) that holds nothing but NaN, or nothing but one value.

    what : the file;  names : what each row is called;  kind : what a row is
    """
    told = []
    for name, row in zip(names, rows, strict=True):
        known = row[~np.isnan(row)] if row.dtype.kind == "f" else row
        called = f"{kind} {name}".rstrip()
        if known.size == 0:
            told.append(f"{called} is all NaN")
        elif row.size > 1 and known.min() == known.max():
            value = float(known.flat[0])
            told.append(f"{called} is all zero" if value == 0 else f"{called} is constant ({value:g})")
    if told:
        more = f" and {len(told) - 4} more" if len(told) > 4 else ""
        warnings.warn(f"{what}: {', '.join(told[:4])}{more}; there is nothing to segment in it", UserWarning,
                      stacklevel=3)
