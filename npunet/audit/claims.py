"""Documented figures against counted ones.

A claims file is JSON:

    {"title": ..., "claims": [{"name": ..., "source": ..., "documented": {"parameters": "57K", "flops": "4.0M"},
     "configurations": [{"name": ..., "architecture": ..., "input_shape": [256, 1], "num_classes": 4}]}]}

A documented figure is a text, because its digits say how exact it wants to be; the figures are FIGURES, and an
architecture is whatever UNetParams.from_dict reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from npunet.audit.costs import costs
from npunet.model import UNet
from npunet.params import UNetParams
from npunet.reading import json_object, reading

FIGURES = ("parameters", "trainable", "macs", "flops")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
NEAR = 0.05  # relative difference that is still called near
AGREES, IS_NEAR, DIFFERS = "agrees", "near", "differs"


@dataclass(frozen=True)
class Claim:
    """One documented figure and what is counted for one configuration.

    documented : as it stands in the documentation;  value : the number it means
    ratio      : counted / value
    verdict    : "agrees" when the counted number rounds to the documented digits, "near" within 5 %, else "differs"
    """

    name: str
    source: str
    configuration: str
    figure: str
    documented: str
    value: float
    counted: int
    ratio: float
    verdict: str


def check(claims: Mapping[str, Any]) -> list[Claim]:
    """Count for every configuration of every claim. Raises ValueError for a file of another form."""
    found = []
    try:
        for claim in claims["claims"]:
            for configuration in claim["configurations"]:
                counted = count(configuration)
                for figure, documented in claim["documented"].items():
                    if figure not in FIGURES:
                        raise ValueError(f"{claim['name']}: {figure!r} is none of {', '.join(FIGURES)}")
                    found.append(judged(claim, configuration["name"], figure, str(documented), counted[figure]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the claims have another form than npunet/audit/claims.py describes: {error!r}") from None
    return found


def judged(claim: Mapping[str, Any], configuration: str, figure: str, documented: str, counted: int) -> Claim:
    """One figure with its verdict."""
    value, half = read_figure(documented)
    near = value and abs(counted - value) <= NEAR * value
    verdict = AGREES if abs(counted - value) <= half else IS_NEAR if near else DIFFERS
    return Claim(claim["name"], claim["source"], configuration, figure, documented, value, counted,
                 counted / value if value else float("inf"), verdict)


def read_figure(text: str) -> tuple[float, float]:
    """"57K" as (57,000, 500): the number, and half a unit of its last digit. Raises ValueError for another text."""
    found = re.fullmatch(r"\s*([\d,]+)(?:\.(\d+))?\s*([KMG]?)\s*", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no figure; write 57K, 4.0M or 35,405")
    whole, decimals, unit = found[1].replace(",", ""), found[2] or "", UNITS[found[3].upper()]
    return float(f"{whole}.{decimals or 0}") * unit, 0.5 * unit / 10 ** len(decimals)


def count(configuration: Mapping[str, Any]) -> dict[str, int]:
    """A configuration's figures."""
    params = UNetParams.from_dict(configuration["architecture"])
    model = UNet(params, tuple(configuration["input_shape"]), configuration.get("num_classes"), seed=None)
    counted = costs(model.graph)
    return {figure: getattr(counted, figure) for figure in FIGURES}


def names() -> list[str]:
    """The claims that come with npunet."""
    folder = files("npunet.audit").joinpath("documented")
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def load(source: str | PathLike[str]) -> dict[str, Any]:
    """A claims file by its path, or one that comes with npunet by its name. Raises FileNotFoundError, ValueError."""
    if str(source) in names():
        text = files("npunet.audit").joinpath("documented", f"{source}.json").read_text(encoding="utf-8")
    elif Path(source).is_file():
        with reading(source, "is not JSON", "mend it"):
            text = Path(source).read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(f"no such file: {source} (with npunet come: {', '.join(names())})")
    with reading(source, "is not JSON", "mend it"):
        return json_object(text)


def table(claims: Sequence[Claim]) -> str:
    """The claims as text."""
    rows = [("claim", "configuration", "figure", "documented", "counted", "counted / documented", "")]
    rows += [(claim.name, claim.configuration, claim.figure, claim.documented, f"{claim.counted:,}",
              f"{claim.ratio:.2f}", claim.verdict) for claim in claims]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
