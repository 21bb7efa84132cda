"""Compiled functions as object files: on disk under a checked header, and the symbols that they need."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from npunet.files import atomic_write

OTHERS_WRITE = 0o022
MAGIC = b"npunet object code 2\n"
ELF_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size: System V ABI, "Symbol Table", ELF-64


class ObjectCode(NamedTuple):
    """A compiled function: the object file that holds it, its name there, the machine that it is for, and whether it
    multiplies weights of int8 as bytes."""

    code: bytes
    symbol: str
    triple: str
    bytes: bool = False


def read(path: Path) -> ObjectCode | None:
    """What a file holds; None where there is none, a damaged one, or one that another user may have written."""
    try:
        with open(path, "rb") as file:
            if not is_trusted(os.fstat(file.fileno())):
                return None
            magic, digest, content = file.read().split(b"\n", 2)
        symbol, triple, of_bytes, code = content.split(b"\n", 3)
        made = ObjectCode(code, symbol.decode(), triple.decode(), bool(int(of_bytes)))
    except (OSError, ValueError):
        return None
    sound = magic + b"\n" == MAGIC and hashlib.sha256(content).hexdigest().encode() == digest
    return made if sound else None


def is_trusted(found: os.stat_result) -> bool:
    """Whether a file can have been written by nobody but this user, root, or the owner of this package's source."""
    if not hasattr(os, "geteuid"):  # Windows, where folders carry the rights
        return True
    return found.st_uid in (os.geteuid(), 0, os.stat(__file__).st_uid) and not found.st_mode & OTHERS_WRITE


def write(path: Path, made: ObjectCode) -> None:
    """Atomically. Raises OSError where that is not possible."""
    content = b"\n".join([made.symbol.encode(), made.triple.encode(), b"%d" % made.bytes, made.code])
    with atomic_write(path) as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o777 & ~OTHERS_WRITE)
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
