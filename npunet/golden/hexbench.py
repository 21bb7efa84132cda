"""Verilog beside the $readmemh files: a comparison of any two, and a bench that runs a max-pooling unit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden.cgen import fill, read_template
from npunet.golden.collect import Collector
from npunet.golden.writers import write_text


def write(folder: Path, layers: Mapping[str, Mapping[str, Any]], cases: Mapping[str, Collector]) -> None:
    """Write compare.v, and max_pool.v for the first max-pooling whose tensors are stored."""
    write_text(folder / "compare.v", read_template("compare.v"))
    if not cases:
        return
    case = next(iter(cases.values()))
    for layer in layers.values():
        source = layer["inputs"][0] if layer["inputs"][0] == "in" else f"{layer['inputs'][0]}.out"
        result = f"{layer['id']}.out"
        stored = source in case.kept and result in case.kept
        if layer["operator"] == "max_pool2d" and stored and not np.isnan(case.kept[source]).any():
            write_text(folder / "max_pool.v", max_pool(layer, f"{case.case}/{source}.mem", f"{case.case}/{result}.mem"))
            return


def max_pool(layer: Mapping[str, Any], source: str, result: str) -> str:
    """The bench of one layer; it reads the first sample."""
    (H, W, C), (OH, OW, _) = layer["input_shapes"][0], layer["shape"]
    (KH, KW), (SY, SX) = layer["kernel"], layer["stride"]
    return fill(read_template("max_pool.v"), {
        "ID": layer["id"], "IN": source, "OUT": result, "H": H, "W": W, "C": C, "OH": OH, "OW": OW,
        "KH": KH, "KW": KW, "SY": SY, "SX": SX, "TOP": layer["pads"]["top"], "LEFT": layer["pads"]["left"],
    })
