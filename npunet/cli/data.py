"""npunet data: fetch a data set."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from npunet.cli import models, values
from npunet.data.fetch import LIST, SOURCES, fetch


def add(verbs: Any) -> None:
    """Arguments of `npunet data`."""
    parser = models.verb(verbs, "data", data, "fetch a data set over the network, checked; goes on where it stopped",
                         "npunet data fetch ludb physionet/ludb")
    parser.add_argument("what", choices=("fetch",), help="fetch: bring a folder to what the sha256 list says")
    parser.add_argument("name", choices=tuple(SOURCES), help="the data set")
    parser.add_argument("folder", help="where it goes")
    parser.add_argument("--url", help=f"another place that has it, with its {LIST}")
    parser.add_argument("--jobs", type=values.counting, default=4, metavar="N",
                        help="files on their way at once (default 4)")


def data(arguments: Namespace) -> None:
    """Fetch and say what came."""
    url = arguments.url or SOURCES[arguments.name]
    live = sys.stderr.isatty()

    def told(done: int, total: int, name: str) -> None:
        if live:
            print(f"\r\033[K{done} of {total}  {name}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    fetched, total = fetch(url, arguments.folder, arguments.jobs, told)
    print(f"{arguments.folder}: {total} files, each with the sha256 of {url}{'' if url.endswith('/') else '/'}{LIST}; "
          f"{fetched} fetched, {total - fetched} were there")
