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
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from npunet.engine.runtime.installed import EngineUnavailable
from npunet.engine.runtime.object_code import ObjectCode, read, undefined_symbols, write

PACKAGE = Path(__file__).parents[2]
_hole = ctypes.c_int64()
HOLE = ctypes.addressof(_hole)  # for the None that functions return, and an exception that they never raise
QUIET_SECONDS = 1.5  # seconds of compiling before it is mentioned


class Native:
    """A function in machine code.

    path  : the file it is kept in; None where no folder can be written to
    found : whether it was there already
    bytes : see ObjectCode
    """

    def __init__(self, made: ObjectCode, path: Path | None, found: bool) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(made.triple).create_target_machine(codemodel="jitdefault", jit=True)
        self.path, self.found, self.bytes = path, found, made.bytes
        self._holder = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{made.triple}"'), machine)
        file = llvm.ObjectFileRef.from_data(made.code)
        if missing := [name for name in undefined_symbols(file) if not llvm.address_of_symbol(name)]:
            raise RuntimeError(f"this system has no {', '.join(missing)}")
        self._holder.add_object_file(file)
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
        self.address, self.block = block.ctypes.data, block.data

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
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    return array.ctypes.data


class Entry:
    """A function of the engine, ready when it is first called. Raises EngineUnavailable where it cannot be made.

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
                    self._native = self._load()
        return self._native

    def _load(self) -> Native:
        with unavailable_otherwise():
            return self._find() or self._compile()

    def _find(self) -> Native | None:
        for folder in folders():
            path = folder / self._file_name()
            if made := read(path):
                return Native(made, path, found=True)
        return None

    def compiled(self) -> bool:
        """Whether it is there, so that a call need not compile it. Looked up on disk once a second at most."""
        if self._native is None and time.monotonic() - self._looked > 1:
            with unavailable_otherwise():
                self._native = self._find()
            self._looked = time.monotonic()
        return self._native is not None

    def _compile(self) -> Native:
        from npunet.engine.runtime.notice import Notice

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
        if numba is None or numba.origin is None:
            raise ImportError("Numba is not installed")
        for path in (Path(numba.origin).with_name("_version.py"), *files(self.sources)):
            digest.update(path.read_bytes())
        return f"npunet-{self.name}-{digest.hexdigest()[:16]}.o"


@contextmanager
def unavailable_otherwise() -> Iterator[None]:
    """Whatever LLVM, Numba or the system's linker have to say becomes EngineUnavailable."""
    try:
        yield
    except Exception as error:
        raise EngineUnavailable(f"the engine could not be compiled or loaded on this machine ({error})") from error


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


