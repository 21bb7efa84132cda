"""Functions of the engine in machine code: from disk without importing Numba, or compiled now and kept there.

What is kept is one file a function: the object code that LLVM made, under a name that depends on everything it was made
of (sources, compiler, CPU). It needs nothing from Numba or Python, so llvmlite alone loads it, in a tenth of the time
that importing Numba takes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from npunet.engine.runtime.notice import Notice
from npunet.files import atomic_write

PACKAGE = Path(__file__).parents[2]
MAGIC = b"npunet object code 1\n"
_hole = ctypes.c_int64()
HOLE = ctypes.addressof(_hole)  # for the None that functions return, and an exception that they never raise
OTHERS_WRITE = 0o022
QUIET_SECONDS = 1.5  # seconds of compiling before it is mentioned


@dataclass(frozen=True)
class ObjectCode:
    """A compiled function: the object file that holds it, its name there, and the machine that it is for."""

    code: bytes
    symbol: str
    triple: str


class Native:
    """A function in machine code.

    path  : the file it is kept in; None where no folder can be written to
    found : whether it was there already
    """

    def __init__(self, made: ObjectCode, path: Path | None, found: bool) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(made.triple).create_target_machine(codemodel="jitdefault", jit=True)
        self.path, self.found = path, found
        self._holder = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{made.triple}"'), machine)
        self._holder.add_object_file(llvm.ObjectFileRef.from_data(made.code))
        self._holder.finalize_object()
        address = self._holder.get_function_address(made.symbol)
        # Numba's convention: where to put the result, where to put an exception, the arguments; returns a status.
        self.function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3)(address)

    def __call__(self, *arguments: np.ndarray | int) -> None:
        """Call it once; see Call."""
        Call(self, *arguments)()


class Call:
    """A call that can be made again and again: the arguments in a block of int64, which the function reads.

    arguments : contiguous arrays, each of which takes as many places as it has dimensions and one (its address, then
                its shape), and integers, which take one

    The arrays stay alive as long as this does; what they hold is read anew by each call. The GIL is released.
    """

    def __init__(self, native: Native, *arguments: np.ndarray | int) -> None:
        self.arguments, self.native = arguments, native
        self.shapes: dict[int, tuple[int, ...]] = {}  # of arrays that were put in
        listed = [places(argument) for argument in arguments]
        self.starts = np.cumsum([0, *map(len, listed)]).tolist()
        block = np.array([place for each in listed for place in each], np.int64)
        self.address, self.block = block.ctypes.data, memoryview(block)

    def put(self, number: int, array: np.ndarray) -> None:
        """Let one argument be another array of as many dimensions, which the caller keeps alive."""
        at = self.starts[number]
        self.block[at] = address_of(array)
        if array.shape != self.shapes.get(number):
            self.shapes[number] = array.shape
            for axis, size in enumerate(array.shape, at + 1):
                self.block[axis] = size

    def __call__(self) -> None:
        if status := self.native.function(HOLE, HOLE, self.address):
            raise RuntimeError(f"the engine stopped with status {status}: this is a fault of npunet, please report it")


def places(argument: np.ndarray | int) -> tuple[int, ...]:
    """What stands for one argument in a call's block."""
    return (address_of(argument), *argument.shape) if isinstance(argument, np.ndarray) else (argument,)


def address_of(array: np.ndarray) -> int:
    """Of a contiguous array's first value. NumPy tells it too, four times as slowly."""
    if array.flags.writeable and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    return array.ctypes.data


class Entry:
    """A function of the engine, ready when first asked for.

    module  : its compile_entry(name) gives the ObjectCode; it imports Numba, and is imported only for that
    sources : folders and files, relative to the package, that the machine code depends on
    what    : it is called in messages
    usual   : seconds that compiling it takes on a common machine
    """

    def __init__(self, module: str, name: str, sources: Sequence[str], what: str = "the engine",
                 usual: float = 60) -> None:
        self.module, self.name, self.sources, self.what, self.usual = module, name, sources, what, usual
        self._lock = threading.Lock()
        self._native: Native | None = None
        self._looked = -math.inf

    def __call__(self) -> Native:
        if self._native is None:
            with self._lock:
                if self._native is None:
                    self._native = self._find() or self._compile()
        return self._native

    def _find(self) -> Native | None:
        for folder in folders():
            path = folder / self._file_name()
            if made := read(path):
                return Native(made, path, found=True)
        return None

    def compiled(self) -> bool:
        """Whether it is there, so that a call need not compile it. Looked up on disk once a second at most."""
        if self._native is None and time.monotonic() - self._looked > 1:
            self._native = self._find()
            self._looked = time.monotonic()
        return self._native is not None

    def _compile(self) -> Native:
        with Notice(self.what, self.usual, QUIET_SECONDS):
            made = import_module(self.module).compile_entry(self.name)
        for folder in folders():
            path = folder / self._file_name()
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write(path, made)
            except OSError:  # may not be written to, or is full
                continue
            return Native(made, path, found=False)
        return Native(made, None, found=False)

    def _file_name(self) -> str:
        """Changes with everything that the machine code depends on."""
        import llvmlite
        import llvmlite.binding as llvm

        digest = hashlib.sha256()
        settings = {name: value for name, value in os.environ.items()
                    if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"}
        digest.update(json.dumps([llvmlite.__version__, llvm.get_host_cpu_name(), cpu_features(),
                                  sorted(settings.items())]).encode())
        numba = find_spec("numba")
        for path in (Path(numba.origin).with_name("_version.py"), *files(self.sources)):
            digest.update(path.read_bytes())
        return f"npunet-{self.name}-{digest.hexdigest()[:16]}.o"


def cpu_features() -> str:
    """What LLVM knows of this machine; empty where it knows nothing."""
    import llvmlite.binding as llvm

    try:
        return llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        return ""


def files(sources: Sequence[str]) -> list[Path]:
    found = [PACKAGE / source for source in sources]
    return [file for path in found for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]


def folders() -> Iterator[Path]:
    """Where compiled functions may be kept, best first: NUMBA_CACHE_DIR, beside the source, the user's cache folder.

    A user without a home has no cache folder.
    """
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen)
    yield PACKAGE / "engine" / "__pycache__"
    with suppress(RuntimeError):  # neither HOME nor an entry among the system's users
        if sys.platform == "win32":
            yield Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "npunet"
        elif sys.platform == "darwin":
            yield Path.home() / "Library" / "Caches" / "npunet"
        else:
            yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "npunet"


def read(path: Path) -> ObjectCode | None:
    """What a file holds; None where there is none, a damaged one, or one that another user may have written."""
    try:
        with open(path, "rb") as file:
            if not is_trusted(os.fstat(file.fileno())):
                return None
            magic, digest, content = file.read().split(b"\n", 2)
        symbol, triple, code = content.split(b"\n", 2)
        made = ObjectCode(code, symbol.decode(), triple.decode())
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
    content = b"\n".join([made.symbol.encode(), made.triple.encode(), made.code])
    with atomic_write(path) as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o777 & ~OTHERS_WRITE)
        file.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
