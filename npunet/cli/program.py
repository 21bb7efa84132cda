"""npunet program: the instruction table that the engine runs for a model."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import numpy as np

from npunet import IntegerModel
from npunet.cli import models, values
from npunet.engine.integer.plan.program import compile_integer_program
from npunet.engine.plan import report
from npunet.engine.plan.program import Program, compile_program
from npunet.engine.runtime.entry_points import ENTRIES
from npunet.engine.runtime.runner import check_threads
from npunet.engine.target import this_target


def add(verbs: Any) -> None:
    """Arguments of `npunet program`."""
    parser = models.verb(verbs, "program", program, "print the instructions that the engine runs for a model",
                         "npunet program ecg --input-shape 800,1")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("--input-shape", type=values.shape, metavar="L,C|H,W,C",
                        help="shape of one sample (default: the model's own)")
    parser.add_argument("--threads", type=values.counting, default=1, metavar="N",
                        help="threads that share a sample (default 1)")
    parser.add_argument("--arithmetic", choices=tuple(ENTRIES), default="seq_fma",
                        help="for which; only winograd has another program (default seq_fma)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def program(arguments: Namespace) -> None:
    """Compile, which needs no Numba, and print."""
    threads = check_threads(arguments.threads)
    opened = models.open_model(arguments.model)
    if isinstance(opened, IntegerModel):
        return integer_program(opened, arguments, threads)
    model = models.network_of(opened)
    shape = arguments.input_shape or model.input_shape
    if model.dtype != "float32":
        raise ValueError(f"the engine runs float32, the model is {model.dtype}")
    if None in shape:
        raise ValueError(f"a program is for one size, {shape} leaves one open; add --input-shape, such as 800,1")
    images, _ = model.sizes.admit(np.empty((1, *shape), np.float32), model.dtype)
    graph = model.sizes.graph(images.shape[1:3])
    compiled = compile_program(graph, model.weights, threads=threads, arithmetic=arguments.arithmetic)
    peaks = report.peaks(lambda fuse, in_place: compile_program(graph, model.weights, fuse=fuse, in_place=in_place,
                                                                arithmetic=arguments.arithmetic))
    show(compiled, peaks, model.params.name, arguments.json)


def integer_program(model: IntegerModel, arguments: Namespace, threads: int) -> None:
    """The same of an integer network."""
    if arguments.arithmetic != "seq_fma":
        raise ValueError(f"--arithmetic {arguments.arithmetic} is for float networks; integers come out the same in "
                         "every order: leave it out")
    shape = arguments.input_shape or model.input_shape
    if None in shape:
        raise ValueError(f"a program is for one size, {shape} leaves one open; give --input-shape all sizes")
    network, _ = model.admit(np.empty((0, *shape), model.dtype))
    multiplies_bytes = bool(this_target().byte_dot)
    peaks = report.peaks(lambda fuse, in_place: compile_integer_program(network, fuse=fuse, in_place=in_place,
                                                                        bytes=multiplies_bytes))
    show(compile_integer_program(network, threads=threads, bytes=multiplies_bytes), peaks, network.name, arguments.json)


def show(program: Program, peaks: dict[str, int], title: str, as_json: bool) -> None:
    """Print a program."""
    if as_json:
        print(json.dumps(report.as_dict(program, peaks), indent=1))
    else:
        print(report.text(program, peaks, title))
