"""Fetching a data set over the network: files of a sha256 list, each checked, and going on where it stopped."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

LIST = "SHA256SUMS.txt"
SOURCES = {"ludb": "https://physionet.org/files/ludb/1.0.1/"}
BLOCK = 1 << 16
TIMEOUT = 60.0  # s without a byte


def fetch(base: str, folder: str | os.PathLike[str], jobs: int = 4,
          told: Callable[[int, int, str], None] = lambda done, total, name: None) -> tuple[int, int]:
    """Bring a folder to what the sha256 list at a base URL says.

    base   : URL of the folder that holds SHA256SUMS.txt; http, https or file
    folder : where the files go, made if need be
    jobs   : files that are on their way at once
    told   : called after each file with the number done, the total and the name

    Files that are there and have the right sum are left alone; one that was cut short goes on where it stopped (in
    NAME.part), or from the beginning where the server cannot do that. A file appears under its name only when its sum
    is right. Returns how many files were fetched, and how many there are.
    Raises ValueError for a list that is none or a file with a wrong sum, OSError when the server does not answer.
    """
    base = base if base.endswith("/") else base + "/"
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with _open(base + LIST) as answer:
        sums = read_sums(answer.read().decode("utf-8", "replace"), base + LIST)
    fetched, done = 0, 0
    with ThreadPoolExecutor(jobs) as pool:
        futures = [(name, pool.submit(_bring, base + name, target / name, sum256)) for name, sum256 in sums.items()]
        try:
            for name, future in futures:
                fetched += future.result()
                done += 1
                told(done, len(sums), name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return fetched, len(sums)


def read_sums(text: str, where: str = LIST) -> dict[str, str]:
    """A sha256 list, "sum  path" a line, as path -> sum. Raises ValueError, also for a path out of the folder."""
    sums = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(.+)", line.strip())
        if not found:
            raise ValueError(f"{where} is no sha256 list: {line[:60]!r}")
        path = PurePosixPath(found[2])
        if path.is_absolute() or ".." in path.parts or "\\" in found[2] or ":" in found[2]:
            raise ValueError(f"{where} names a file outside of its folder: {found[2]!r}")
        if path.name != LIST:
            sums[str(path)] = found[1].lower()
    if not sums:
        raise ValueError(f"{where} lists no files")
    return sums


def sha256(path: str | os.PathLike[str]) -> str:
    """The sum of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _bring(url: str, path: Path, expected: str) -> bool:
    """Fetch one file unless it is there. Returns whether anything had to be fetched."""
    if path.is_file() and sha256(path) == expected:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for again in (True, False):
        _download(url, part)
        found = sha256(part)
        if found == expected:
            os.replace(part, path)
            return True
        part.unlink()                                                        # perhaps the half from before was another
        if not again:
            raise ValueError(f"{url} has sha256 {found}, the list says {expected}; the server or the way to it is "
                             "changing the file")
    raise AssertionError


def _download(url: str, part: Path) -> None:
    """Append what is missing of a file."""
    have = part.stat().st_size if part.exists() else 0
    try:
        answer = _open(url, {"Range": f"bytes={have}-"} if have else {})
    except urllib.error.HTTPError as error:
        if have and error.code == 416:                                       # nothing is missing
            return
        raise
    with answer:
        goes_on = have and getattr(answer, "status", None) == 206
        with open(part, "ab" if goes_on else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)


def _open(url: str, headers: dict[str, str] | None = None) -> Any:
    if not url.startswith(("http://", "https://", "file://")):
        raise ValueError(f"{url} is no http, https or file URL")
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise
        raise OSError(f"{url}: the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise OSError(f"{url} cannot be reached: {error.reason}") from None
