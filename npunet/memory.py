"""How much memory there is, asked before it is taken: a refusal in words instead of a machine that stands still."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
UNKNOWN = 2**40  # bytes, taken where the system does not tell: enough for any network, too little for an absurd one
SMALL = 2**24  # bytes that are not worth a look
_bound: int | None = None  # of this process, by `bounded`


def require(needed: int, what: str, way_out: str) -> None:
    """Raise ValueError, with what is needed and what there is, unless `needed` bytes are free."""
    if needed > SMALL and needed > (free := available()):
        raise ValueError(f"{what} needs {told(needed)} of memory, and {told(free)} are free; {way_out}")


def available() -> int:
    """Bytes that this process can still take: of the machine, its control group, its address space, its bound."""
    return max(0, min(_of_machine(), _of_control_group(), _of_address_space(), _of_bound()))


@contextmanager
def bounded(most: int | None) -> Iterator[None]:
    """Bound what this process may take for itself while the block runs, in bytes; nothing enforces it but `require`."""
    global _bound
    before, _bound = _bound, most
    try:
        yield
    finally:
        _bound = before


def told(size: int) -> str:
    """A number of bytes in words."""
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}" if size < 10**18 else f"more than {10**18 // scale:,} {unit}"
    return f"{size} bytes"


def _of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


def _of_control_group() -> int:
    """What a container leaves; pages of files can be given back, so they count as free."""
    try:
        most = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if most == "max":
            return sys.maxsize
        taken = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        kept = [line.split() for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()]
        files = sum(int(size) for name, size in kept if name in ("inactive_file", "active_file"))
        return int(most) - max(0, taken - files)
    except (OSError, ValueError):
        return sys.maxsize


def _of_bound() -> int:
    """What is left of the bound, by the pages that the process holds."""
    if _bound is None:
        return sys.maxsize
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return _bound - pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return _bound


def _of_address_space() -> int:
    """What `ulimit -v` leaves."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return sys.maxsize
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return most - pages * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return sys.maxsize
