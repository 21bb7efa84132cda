"""Compiled functions as object files: on disk under a checked header, and the symbols that they need."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npunet.files import atomic_write

MAGIC = b"npunet object code 1\n"
ELF_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size: System V ABI, "Symbol Table", ELF-64


@dataclass(frozen=True)
class ObjectCode:
    """A compiled function: the object file that holds it, its name there, and the machine that it is for."""

    code: bytes
    symbol: str
    triple: str


def read(path: Path) -> ObjectCode | None:
    """What a file holds; None where there is none, or a damaged one."""
    try:
        magic, digest, content = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    if magic + b"\n" != MAGIC or hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    symbol, triple, code = content.split(b"\n", 2)
    return ObjectCode(code, symbol.decode(), triple.decode())


def write(path: Path, made: ObjectCode) -> None:
    """Atomically. Raises OSError where that is not possible."""
    content = b"\n".join([made.symbol.encode(), made.triple.encode(), made.code])
    with atomic_write(path) as file:
        file.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def undefined_symbols(file: Any) -> list[str]:
    """Names that an ELF object (an llvmlite ObjectFileRef) needs from elsewhere; none are told of other formats.

    LLVM's linker ends the process over a symbol that it does not find, so they are looked up before it may try.
    """
    sections = {section.name(): section.data() for section in file.sections()}
    symbols, names = sections.get(b".symtab", b""), sections.get(b".strtab", b"")
    found = []
    whole = len(symbols) // ELF_SYMBOL.size * ELF_SYMBOL.size
    for name, _, _, section, _, _ in ELF_SYMBOL.iter_unpack(symbols[:whole]):
        if name and section == 0:
            found.append(names[name : names.index(b"\0", name)].decode(errors="replace"))
    return found
