"""npunet program: the instruction table that the engine runs for a model."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import numpy as np

from npunet.cli import models, values
from npunet.engine.plan import report
from npunet.engine.plan.program import compile_program
from npunet.engine.runtime.entry_points import ENTRIES
from npunet.engine.runtime.runner import check_threads


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
    model = models.open_network(arguments.model)
    shape = arguments.input_shape or model.input_shape
    if model.dtype != "float32":
        raise ValueError(f"the engine runs float32, the model is {model.dtype}")
    if None in shape:
        raise ValueError(f"a program is for one size, {shape} leaves one open; add --input-shape, such as 800,1")
    images, _ = model.sizes.admit(np.empty((1, *shape), np.float32), model.dtype, None)
    graph = model.sizes.graph(images.shape[1:3])
    compiled = compile_program(graph, model.weights, threads=threads, arithmetic=arguments.arithmetic)
    peaks = report.peaks(graph, model.weights, arguments.arithmetic)
    if arguments.json:
        print(json.dumps(report.as_dict(compiled, peaks), indent=1))
    else:
        print(report.text(compiled, peaks, model.params.name))
