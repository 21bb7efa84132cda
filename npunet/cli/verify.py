"""npunet verify: which layer of a port is wrong first, by how much, and why."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from npunet.cli import models, outputs, values
from npunet.cli.golden import show
from npunet.files import write_text

EXIT_STATUS = """

Exit status:
  0  PASS: every layer asked for is right in every case of the bundle
  1  FAIL
  2  an error: outputs or bundle cannot be read, or are of another bundle
  3  INCOMPLETE: nothing is wrong, but layers were not given
  4  INCOMPLETE: nothing is wrong, but cases were not given (the report says: PASS of 1 of 73 cases)
  5  NOT JUDGED: with --bounded, nothing is seen to be wrong, but the bound is too wide to tell
  6  NON-FINITE FAIL: with --bounded, what is finite is right, but not where NaN or infinity must stand"""


def add(verbs: Any) -> None:
    """Arguments of `npunet verify`."""
    parser = models.verb(verbs, "verify", verify, "compare a port's outputs with a golden bundle and find the cause",
                         "npunet verify golden outputs/ --junit verify.xml")
    parser.epilog = f"{parser.epilog}{EXIT_STATUS}"
    parser.add_argument("bundle", help="folder that npunet golden wrote")
    parser.add_argument("outputs", nargs="?",
                        help="folder or file: npz, npy, bin, mem, hex, serial log, TFLite-Micro JSON")
    parser.add_argument("--run", dest="program", metavar="COMMAND", nargs="?", const=True,
                        help="instead of outputs: run this command, such as \"qemu-system-arm ... -kernel "
                        "build/net.elf\", and judge the serial log that it prints; without a value build and run the "
                        "bundle's own C for its --target. This runs code that is not npunet's, as you")
    parser.add_argument("--run-seconds", metavar="S", type=values.positive, default=600.0,
                        help="time that --run may take (default 600)")
    parser.add_argument("--log", metavar="FILE", help="with --run: keep what was printed")
    parser.add_argument("--bounded", action="store_true",
                        help="against the derived bound of every element (default: bit for bit, the declared order)")
    parser.add_argument("--flush-to-zero", action="store_true",
                        help="with --bounded: the port has no subnormals, and that is meant")
    parser.add_argument("--finite-math", action="store_true",
                        help="with --bounded: the port keeps no NaN and no infinities (-ffast-math), and that is meant")
    parser.add_argument("--layers", metavar="NAME,...", type=values.names,
                        help="the layers that the port shows (default: all; what is missing is INCOMPLETE)")
    parser.add_argument("--case", metavar="ID", help="case of tensors whose names tell none (default: the first)")
    parser.add_argument("--layout", metavar="NCHW", help="layout in which every tensor stands (default: NHWC)")
    parser.add_argument("--no-diagnosis", action="store_true", help="do not look for the cause")
    parser.add_argument("--time-limit", metavar="SECONDS", type=values.not_negative,
                        help="of the search for the cause, which then tells what it has (default 60)")
    parser.add_argument("--all", action="store_true", help="a line for every layer")
    parser.add_argument("--json", metavar="FILE", help="also everything as JSON")
    parser.add_argument("--junit", metavar="FILE", help="also as JUnit's XML")
    parser.add_argument("--html", metavar="FILE", help="also as one page of HTML with the picture in it")
    parser.add_argument("--picture", metavar="FILE", help="error along the network, .svg or .png")


def verify(arguments: Namespace) -> None:
    """Compare, tell, write, and leave with the verdict's exit status."""
    if (arguments.outputs is None) == (arguments.program is None):
        raise ValueError("give the port's outputs, or --run to run it; one of the two")
    outputs.refuse_all(arguments)
    if arguments.program is None:
        judge(arguments)
        return
    from npunet.verify.boards import outputs_of

    command = None if arguments.program is True else arguments.program
    with outputs_of(arguments.bundle, command, log=arguments.log, seconds=arguments.run_seconds,
                    told=lambda line: print(line, flush=True)) as log:
        arguments.outputs = log
        try:
            judge(arguments)
        except ValueError as error:
            if arguments.log:
                raise
            raise ValueError(str(error).replace(str(log), "what --run printed")) from None   # the file goes


def judge(arguments: Namespace) -> None:
    """Compare the outputs and leave with the verdict's exit status."""
    from npunet.verify import html, machine, picture, report
    from npunet.verify import verify as compare_outputs
    from npunet.verify.verdict import TIME_LIMIT

    if arguments.picture:
        picture.suffix(arguments.picture)
    result = compare_outputs(
        arguments.bundle, arguments.outputs, bounded=arguments.bounded, flushes=arguments.flush_to_zero,
        finite_math=arguments.finite_math, layers=arguments.layers, case=arguments.case, layout=arguments.layout,
        explain=not arguments.no_diagnosis,
        time_limit=TIME_LIMIT if arguments.time_limit is None else arguments.time_limit,
        progress=show if sys.stderr.isatty() else None,
    )
    forms = (arguments.json, machine.as_json), (arguments.junit, machine.as_junit), (arguments.html, html.page)
    for path, make in forms:
        if path:
            write_text(path, make(result))
    if arguments.picture:
        picture.save(arguments.picture, result)
    print(report.text(result, arguments.all), end="")
    if result.status:
        raise SystemExit(result.status)
