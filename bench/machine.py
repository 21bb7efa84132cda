"""The machine and what is installed on it: cores to pin to, the processor's name, sizes of packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

TELLING = ("fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile", "asimd", "asimddp")


def cores(count: int) -> list[int]:
    """So many cores that this process may use, on physical cores of their own as far as there are any."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(count))
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ValueError(f"{count} threads were asked for, this process may use {len(allowed)} cores")
    taken: set[str] = set()
    firsts = [core for core in allowed if not (siblings(core) in taken or taken.add(siblings(core)))]
    return (firsts + [core for core in allowed if core not in firsts])[:count]


def siblings(core: int) -> str:
    """The threads of a physical core, as the system writes them."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(core)


def describe() -> dict[str, Any]:
    """What a reader of figures wants to know about where they come from."""
    text = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = set((re.search(r"(?:flags|Features)\s*:\s*(.*)", text) or [None, ""])[1].split())
    return {"processor": name[1] if name else platform.processor() or platform.machine(),
            "features": [flag for flag in TELLING if flag in flags], "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}", "python": platform.python_version()}


def installed_bytes(packages: tuple[str, ...]) -> int:
    """Bytes of the files of some distributions and of everything that they require."""
    waiting, seen, size = list(packages), set(), 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            size += beside(name)
            continue
        size += sum(file_size(Path(str(file.locate()))) for file in distribution.files or ())
        waiting += [re.match(r"[\w.-]+", need)[0] for need in distribution.requires or () if "extra ==" not in need]
    return size


def beside(name: str) -> int:
    """Bytes of a package that is not installed but stands beside this folder: npunet itself."""
    folder = Path(__file__).resolve().parent.parent / name
    return sum(file_size(path) for path in folder.rglob("*") if path.suffix in (".py", ".json"))


def file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
