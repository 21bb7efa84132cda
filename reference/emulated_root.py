"""Copy what a check in an emulator needs into a folder that becomes its disk: this Python, NumPy, llvmlite, npunet.

    python reference/emulated_root.py FOLDER NETWORKS
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "llvmlite")  # and of numba the file that tells its version: npunet looks for that, no more
LEFT_OUT = shutil.ignore_patterns("test", "tests", "site-packages", "dist-packages", "idlelib", "tkinter", "ensurepip",
                                  "lib2to3", "config-3*", "__pycache__", "*.a", "include")
CHECK = """#!/bin/sh
export PATH=/bin HOME=/tmp NUMBA_CACHE_DIR=/code OPENBLAS_NUM_THREADS=1 PYTHONPATH=/site:/npunet
echo; echo begin
{python} -u /npunet/reference/emulated.py check MACHINE /networks
echo "end $?"
"""


def libraries(files: list[Path]) -> set[Path]:
    """The shared libraries that files need, and the loader."""
    found = set()
    for file in files:
        told = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
        for word in told.split():
            if word.startswith("/") and ".so" in word:
                found.add(Path(word))
    return found


def main() -> None:
    """Copy."""
    root, networks = map(Path, sys.argv[1:])
    program, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    inside = [program.relative_to("/"), library.relative_to("/")]
    (root / inside[0]).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(program, root / inside[0])
    shutil.copytree(library, root / inside[1], ignore=LEFT_OUT, dirs_exist_ok=True)
    for name in PACKAGES:
        for path in distribution(name).files or ():
            if path.parts[0] != ".." and not set(path.parts) & {"tests", "__pycache__", "include"}:
                target = root / "site" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path.locate(), target)
    (root / "site" / "numba").mkdir()
    for name in ("__init__.py", "_version.py"):
        shutil.copy2(distribution("numba").locate_file(f"numba/{name}"), root / "site" / "numba")
    ours = root / "npunet"
    shutil.copytree(HERE.parent / "npunet", ours / "npunet", ignore=shutil.ignore_patterns("__pycache__", "web"))
    (ours / "reference").mkdir()
    shutil.copy2(HERE / "emulated.py", ours / "reference")
    shutil.copy2(networks, root / "networks")
    shutil.copy2(shutil.which("busybox") or "/bin/busybox", root / "bin" / "sh")
    made = [root / inside[0], *root.rglob("*.so"), *root.rglob("*.so.*")]
    for needed in libraries(made):
        if not needed.is_relative_to(root):
            target = root / needed.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(needed, target)
    compileall.compile_dir(root, quiet=2, stripdir=str(root), workers=os.cpu_count() or 1,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    (root / "check.in").write_text(CHECK.format(python=f"/{inside[0]}"), encoding="utf-8")


if __name__ == "__main__":
    main()
