"""A bundle's cases as C: what runs, and where its inputs are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TITLE = "made by npunet"
LAYERS_ONLY = ("#ifndef NETWORK_CASES_ONLY", "#endif")


@dataclass(frozen=True)
class Case:
    """One case to run.

    layer       : number of the layer that runs alone, or -1
    every_layer : whether the bundle wants every layer's output
    files       : of its inputs, seen from the bundle's folder;  size : bytes of all
    """

    id: str
    layer: int
    samples: int
    every_layer: bool
    files: tuple[str, ...]
    size: int


def cases_of(manifest: Mapping[str, Any]) -> list[Case]:
    """The cases that a program can run, those of the network first.

    Raises ValueError when the bundle lacks the inputs as raw words.
    """
    numbers = {layer["id"]: number for number, layer in enumerate(manifest["layers"])}
    tensors = {record["id"]: record for record in manifest["tensors"]}
    made = []
    for case in manifest["cases"]:
        scope = case.get("scope", "network")
        if scope == "backward":
            continue
        keys = [key for key in case["tensors"] if re.fullmatch(r"in|.*\.in\d", key)]
        records = [tensors[f"{case['id']}/{key}"] for key in keys]
        if not all("bin" in record["files"] for record in records):
            raise ValueError(f"{case['id']} has no raw words, from which a program for a board takes its inputs; add "
                             "'bin' to the bundle's formats")
        made.append(Case(case["id"], numbers[case["id"]] if scope == "layer" else -1, records[0]["shape"][0],
                         case.get("stored") != "ends", tuple(record["files"]["bin"] for record in records),
                         sum(record["bytes"] for record in records)))
    return sorted(made, key=lambda case: case.layer >= 0)


def table(cases: Sequence[Case], value: str) -> str:
    """cases.c; value : C's type of an input."""
    names = [f"board_input_{number}_{k}" for number, case in enumerate(cases) for k in range(len(case.files))]
    rows, alone = [], False
    for number, case in enumerate(cases):
        if case.layer >= 0 and not alone:
            rows.append(LAYERS_ONLY[0])
            alone = True
        listed = ", ".join(f"board_input_{number}_{k}" for k in range(len(case.files)))
        rows.append(f'    {{"{case.id}", {case.layer}, {case.samples}, {int(case.every_layer)}, {{{listed}}}}},')
    rows += LAYERS_ONLY[1:] * alone
    return "\n".join([f"/* cases.c: {TITLE} */", '#include "cases.h"', "",
                      *(f"extern const {value} {name}[];" for name in names), "", "const board_case board_cases[] = {",
                      *rows, "};", "const int board_case_count = (int)(sizeof board_cases / sizeof *board_cases);", ""])


def data(cases: Sequence[Case]) -> str:
    """case_data.S: the files of the inputs."""
    lines, alone = [f"/* case_data.S: {TITLE}; to be assembled in the bundle's folder */",
                    '    .section .cases, "a"'], False
    for number, case in enumerate(cases):
        if case.layer >= 0 and not alone:
            lines.append(LAYERS_ONLY[0])
            alone = True
        for k, file in enumerate(case.files):
            name = f"board_input_{number}_{k}"
            lines += [f"    .balign 8\n    .global {name}\n{name}:\n    .incbin \"{file}\""]
    lines += LAYERS_ONLY[1:] * alone
    return "\n".join([*lines, "#ifdef __linux__", '    .section .note.GNU-stack, ""', "#endif", ""])
