"""write(): the folder c/board/ of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from shlex import join
from typing import Any

from npunet.golden.boards import cases, commands
from npunet.golden.boards.targets import Board, Memory, Target
from npunet.golden.cgen import fill
from npunet.golden.integer.arrays import C_TYPES
from npunet.golden.manifest import fingerprint
from npunet.golden.writers import write_text

FOLDER = "c/board"
BARE = """;
start.c and board.ld are all that an empty board needs besides. Lines go out by semihosting.c, through the debugger or
the emulator, or by uart.c, a serial line: sh BUNDLE/c/board/build.sh build uart. Another board wants other addresses in
board.ld, and its own uart.c"""


@cache
def template(name: str) -> str:
    """A file of npunet/golden/boards/templates."""
    return files("npunet.golden.boards").joinpath("templates", name).read_text(encoding="utf-8")


def check(target: Target, formats: tuple[str, ...]) -> None:
    """Raise ValueError where a bundle's formats lack what a program is made of."""
    missing = [name for name in ("bin", "c") if name not in formats]
    if missing:
        raise ValueError(f"target {target.name} needs {' and '.join(map(repr, missing))} among the bundle's formats")


def write(root: Path, target: Target, manifest: Mapping[str, Any], arrays_of: str) -> None:
    """Write c/board/ and a section of README.txt into a bundle that is otherwise made, without its SHA256SUMS.

    manifest  : of the float or the integer bundle
    arrays_of : NumPy's name of the input's type: "float32", "int8", "int16"
    """
    made = cases.cases_of(manifest)
    value = "float" if arrays_of == "float32" else C_TYPES[arrays_of]
    output = manifest["model"]["output"]
    values = _values(target) | {
        "TYPE": value, "FINGERPRINT": fingerprint(manifest),
        "OUTPUT_LAYER": [layer["id"] for layer in manifest["layers"]].index(output),
        "LAYER_BYTES": f"{sum(case.size for case in made if case.layer >= 0):,}",
        "NETWORK_BYTES": f"{sum(case.size for case in made if case.layer < 0):,}",
    }
    texts = {name: fill(template(name), values) for name in ("board.h", "cases.h", "serial_log.h", "serial_log.c",
                                                             "build.sh")}
    texts["net_log.c"] = template("log_float.c" if value == "float" else "log_integer.c")
    texts |= {f"{name}.c": fill(template(f"{name}.c"), values) for name in commands.outputs(target)}
    if target.board is not None:
        texts |= {name: fill(template(name), values) for name in ("start.c", "board.ld")}
    texts |= {"cases.c": cases.table(made, value), "case_data.S": cases.data(made), "target.json": _json(target)}
    for name, text in texts.items():
        write_text(root / FOLDER / name, text)
    readme = root / "README.txt"
    write_text(readme, readme.read_text(encoding="utf-8") + fill(template("readme.txt"), values))


def _values(target: Target) -> dict[str, object]:
    """What templates say of a target."""
    output, *_ = outputs = commands.outputs(target)
    listed = commands.sources(target, "$output")
    values: dict[str, object] = {
        "NAME": target.name, "WORDS": target.words, "PREFIX": target.prefix, "FLAGS": target.flags,
        "EMULATOR": target.emulator, "PACKAGES": " ".join((*target.packages, target.emulator_package)),
        "BUNDLE": "BUNDLE", "OUTPUT": output, "OUTPUTS": "\n".join(
            f"#   {name:<12} {commands.IN_WORDS[name]}" for name in outputs),
        "RUN": join(commands.running(target, "build/net.elf")), "STANDARD": " ".join(commands.STANDARD),
        "SOURCES": " ".join(f'"{name}"' if "$" in name else name for name in listed),
        "LINK": " ".join(commands.link_options(target)), "BARE": BARE if target.board else "",
    }
    return values | (_of_board(target.board) if target.board else {})


def _of_board(board: Board) -> dict[str, object]:
    values: dict[str, object] = {"MACHINE": board.machine, "START": hex(board.start), "UART": hex(board.uart)}
    for name in ("code", "data", "cases"):
        memory: Memory = getattr(board, name)
        values |= {f"{name.upper()}_ORIGIN": hex(memory.origin), f"{name.upper()}_LENGTH": hex(memory.length)}
    return values


def _json(target: Target) -> str:
    """The row of the target, for programs."""
    told = target._asdict()
    if target.board is not None:
        told["board"] = {key: value._asdict() if isinstance(value, Memory) else value
                         for key, value in target.board._asdict().items()}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"
