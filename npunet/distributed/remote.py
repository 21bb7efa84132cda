"""Files at an address that fsspec knows, such as s3://bucket/database: listed from here, fetched by whoever reads
them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npunet.extras import MissingExtra, extra

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[a-z0-9+.-]+)*://")
LOCAL = ("file://", "local://")
LISTING = 2**20  # bytes of a RECORDS file or header; more is none


def is_address(source: str) -> bool:
    """Whether a source is an address and no path."""
    return ADDRESS.match(source) is not None


def local_path(source: str) -> str:
    """The path that a file:// address names; anything else as it is."""
    for prefix in LOCAL:
        if source.startswith(prefix):
            return source.removeprefix(prefix)
    return source


def join(address: str, name: str) -> str:
    """A name in a folder at an address."""
    return f"{address.rstrip('/')}/{name}"


def listing(address: str) -> list[str]:
    """Names of the files in a folder at an address, sorted. Raises FileNotFoundError, ValueError, MissingExtra."""
    system, path = _system(address)
    with _told(address):
        entries = system.ls(path, detail=True)
    here = path.rstrip("/")
    names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries
             if entry["type"] == "file" and entry["name"].rstrip("/") != here]
    return sorted(name for name in names if name and not name.startswith(".") and "?" not in name)


def read_small(address: str) -> bytes | None:
    """The bytes of a small file, None where there is none. Raises ValueError for one that is large."""
    system, path = _system(address)
    with _told(address):
        try:
            with system.open(path, "rb") as file:
                content = file.read(LISTING + 1)
        except FileNotFoundError:
            return None
    if len(content) > LISTING:
        raise ValueError(f"{address} is larger than {LISTING:,} bytes, which no list of records and no header is")
    return content


@contextmanager
def fetched(source: str, record: bool) -> Iterator[str]:
    """An input at an address as a file in a temporary folder, gone when the block ends.

    record : whether it is a WFDB record: its header is fetched, and every file that this names

    Raises FileNotFoundError, ValueError, OSError.
    """
    folder, _, name = source.rstrip("/").rpartition("/")
    with tempfile.TemporaryDirectory(prefix="npunet-") as scratch:
        if not record:
            yield _fetch(folder, name, Path(scratch))
            return
        waiting = [f"{name}.hea"]
        seen: set[str] = set()
        while waiting:
            header = waiting.pop()
            if header in seen:
                continue
            seen.add(header)
            content = read_small(join(folder, header))
            if content is None:
                if len(seen) == 1:
                    raise FileNotFoundError(f"no WFDB record {source}: there is no file {header}")
                continue
            (Path(scratch) / header).write_bytes(content)
            for named in named_files(content.decode("utf-8", "replace")):
                if f"{named}.hea" in seen:                                   # the record's own name, in its first line
                    continue
                if named not in seen and _fetched_if_there(folder, named, Path(scratch)):
                    seen.add(named)
                else:
                    waiting.append(f"{named}.hea")                           # a segment
        yield str(Path(scratch) / name)


def named_files(header: str) -> list[str]:
    """The names in the lines of a WFDB header: of the record, its signal files and segments, none in another folder."""
    first = [line.split()[0] for line in header.splitlines() if line.split() and not line.lstrip().startswith("#")]
    names = [name.partition("/")[0] if number == 0 else name for number, name in enumerate(first)]
    return [name for name in dict.fromkeys(names) if name != "~" and "/" not in name and "\\" not in name
            and "\0" not in name and name not in (".", "..")]


def state(address: str) -> str | None:
    """What changes when files below an address do: their sizes and their entity tags, or times; None where the server
    tells neither."""
    system, path = _system(address)
    with _told(address):
        found = system.find(path, detail=True)
    told = []
    for name in sorted(found):
        info = found[name]
        mark = next((str(info[key]) for key in ("ETag", "etag", "md5", "mtime", "LastModified", "created")
                     if info.get(key)), None)
        if mark is None:
            return None
        told.append(f"{name} {info.get('size')} {mark}")
    return "\n".join(told) or None


def _fetched_if_there(folder: str, name: str, scratch: Path) -> bool:
    try:
        _fetch(folder, name, scratch)
    except FileNotFoundError:
        return False
    return True


def _fetch(folder: str, name: str, scratch: Path) -> str:
    address, target = join(folder, name), scratch / name
    system, path = _system(address)
    with _told(address):
        system.get_file(path, os.fspath(target))
    return str(target)


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises ValueError, MissingExtra."""
    fsspec = extra("fsspec", "distributed")
    protocol = address.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingExtra(f"{address}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{address}: {protocol}:// is no protocol that fsspec knows ({error})") from None


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Errors of a server in one line that names the address."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"nothing is there: {address}") from None
    except (ImportError, ValueError, OSError) as error:
        if isinstance(error, ImportError):
            raise MissingExtra(f"{address}: {error}") from None
        raise OSError(f"{address} cannot be read: {type(error).__name__} {str(error).splitlines()[:1] or ''}") from None
    except Exception as error:  # a client library's own kinds, such as botocore's
        raise OSError(f"{address} cannot be read: {type(error).__name__}: {str(error)[:300]}") from None
