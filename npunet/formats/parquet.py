"""Waves as an Apache Parquet table, for databases whose tables are read by column. Needs the extra "parquet"."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from npunet.extras import extra
from npunet.files import atomic_write


def write_waves(path: str | PathLike[str], waves: Sequence[Sequence[int]], fs: float | None, leads: Sequence[str],
                class_names: Sequence[str], start: int = 0) -> None:
    """Write waves (lead, label, onset, offset), atomically: the columns of segment.waves.wave_table with their types.

    fs    : samples per second; without it onset_s and offset_s are null
    start : sample of the recording that sample 0 stands at

    Columns: onset_s, offset_s float64; class, lead as dictionaries of strings; onset_sample, offset_sample int64.
    Raises MissingExtra.
    """
    pa, parquet = extra("pyarrow", "parquet"), extra("pyarrow.parquet", "parquet")
    lead, label, onset, offset = np.asarray(waves, np.int64).reshape(-1, 4).T
    onset, offset = onset + start, offset + start

    def seconds(samples: np.ndarray) -> object:
        return pa.nulls(len(samples), pa.float64()) if fs is None else pa.array(np.round(samples / fs, 6))

    def named(numbers: np.ndarray, names: Sequence[str]) -> object:
        return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(list(names), pa.string()))

    table = pa.table({"onset_s": seconds(onset), "offset_s": seconds(offset), "class": named(label, class_names),
                      "lead": named(lead, leads), "onset_sample": onset, "offset_sample": offset})
    with atomic_write(path) as file:
        parquet.write_table(table, file, compression="zstd")
