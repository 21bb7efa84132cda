"""What an earlier run has done already: a note beside each result says of what it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from npunet.distributed.remote import named_files

CHUNK = 2**20
FOLDER = ".done"  # of the notes, in the folder of the results


def fingerprint(files: Iterable[str | Path], *settings: str, below: Path | None = None) -> str:
    """SHA-256 of files, by name and content, and of settings. Raises OSError for what cannot be read.

    below : a folder that all files are in, whose paths from there on are their names
    """
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in sorted(map(Path, files)):
        name = path.name if below is None else path.relative_to(below).as_posix()
        digest.update(json.dumps([name, _sha256(path)]).encode())
    return digest.hexdigest()


def recall(note: Path, mark: str) -> dict[str, Any] | None:
    """What was noted, if it is of this fingerprint and the files that it names still hold what was written."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        whole = known["mark"] == mark and all(_sha256(note.parents[1] / name) == digest
                                              for name, digest in known["files"].items())
        return known["told"] if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged, or somebody else's: the work is done again


def keep(note: Path, mark: str, files: Iterable[Path], told: dict[str, Any]) -> None:
    """Note that files, beside the note's folder, were made of what the fingerprint stands for.

    A note that a crash cuts short is no JSON, so that the work is done again: it need not wait for the disk.
    """
    note.parent.mkdir(exist_ok=True)
    digests = {path.name: _sha256(path) for path in files}
    note.write_text(json.dumps({"mark": mark, "files": digests, "told": told}, indent=1), encoding="utf-8")


def record_files(source: str) -> list[Path]:
    """The files that an input is read from: itself, and for a WFDB record its header, what that names, and the files
    of its name (annotations)."""
    path = Path(source)
    if path.is_file() and path.suffix.lower() not in (".hea", ".dat"):
        return [path]
    base = source.removesuffix(".hea").removesuffix(".dat")
    waiting, found = [Path(f"{base}.hea")], set(Path(base).parent.glob(f"{_literal(Path(base).name)}.*"))
    seen: set[Path] = set()
    while waiting:
        header = waiting.pop()
        if header in seen or not header.is_file():
            continue
        seen.add(header)
        for name in named_files(header.read_text(encoding="utf-8", errors="replace")):
            waiting.append(header.with_name(f"{name}.hea"))
            found.add(header.with_name(name))
    return [path for path in found | seen if path.is_file()]


def _literal(name: str) -> str:
    """A name as a pattern that matches nothing else."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()
