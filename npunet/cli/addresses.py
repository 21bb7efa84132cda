"""A folder at an address, such as s3://bucket/ludb: its inputs, which workers fetch one by one."""

from __future__ import annotations

from pathlib import PurePosixPath

from npunet import UNet
from npunet.cli import inputs
from npunet.distributed import remote
from npunet.segment import Segmenter

HEADER, RECORDS = ".hea", "RECORDS"


def is_record(source: str) -> bool:
    """Whether an input at an address is a WFDB record, which has no suffix of its own."""
    return PurePosixPath(source).suffix.lower() not in (*inputs.TABLES, *inputs.ARRAYS, *inputs.IMAGES)


def find(address: str, model: UNet | Segmenter) -> tuple[list[str], list[str]]:
    """The inputs in a folder at an address for a model, and the names of other files there, as sources.find.

    Of a WFDB database those that its RECORDS file lists, whether they are there or not. Raises FileNotFoundError where
    there is none, OSError for a server that gives no list, MissingExtra.
    """
    images = len(model.input_shape) == 3
    if not images and (listed := remote.read_small(remote.join(address, RECORDS))) is not None:
        names = [line.strip() for line in listed.decode("utf-8", "replace").splitlines()]
        kept = [name for name in names if name and ".." not in name.split("/") and not name.startswith("/")]
        if kept:
            return [remote.join(address, name) for name in kept], []
    here = remote.listing(address)
    headers = [name for name in here if name.endswith(HEADER)]
    if images:
        kept, wanted = [name for name in here if _suffix(name) in (*inputs.IMAGES, *inputs.ARRAYS)], "images"
    elif headers:
        kept, wanted = [name.removesuffix(HEADER) for name in headers], "records"
    else:
        kept = [name for name in here if _suffix(name) in (*inputs.TABLES, *inputs.ARRAYS)]
        wanted = "WFDB records, tables or arrays"
    if not kept:
        raise FileNotFoundError(f"{address} holds no {wanted}; it holds {len(here)} other files")
    return [remote.join(address, name) for name in kept], [] if headers else [name for name in here if name not in kept]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
