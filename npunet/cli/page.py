"""npunet page: one HTML file in which every number of a network can be taken apart and changed."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npunet import IntegerModel, UNet
from npunet.cli import inputs, models, outputs, sources, values
from npunet.deploy import LEVELS
from npunet.files import write_text
from npunet.reading import reading

if TYPE_CHECKING:
    from npunet.audit.comparison import Comparison
    from npunet.audit.subject import Subject


def add(verbs: Any) -> None:
    """Arguments of `npunet page`."""
    parser = models.verb(verbs, "page", page, "write one HTML file that shows a network and recomputes it live",
                         "npunet page tiny -o page.html")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("--input", metavar="FILE", help=f"what the network is shown on ({inputs.HELP}); default: a "
                        "sample made by formulas")
    parser.add_argument("--level", choices=LEVELS, default="trained",
                        help="every layer by itself, or batch norm folded as deployed (default trained)")
    parser.add_argument("--layers", metavar="NAME,...", default=(), type=values.names,
                        help="a tour: the layers that the page's arrows walk through, in this order (default: all)")
    parser.add_argument("--compare", metavar="FILE", help="lay over it: another model of the same architecture, or "
                        "what npunet verify --json wrote")
    parser.add_argument("--seed", type=values.seed, default=0,
                        help="of the weights of a network that has none (default 0)")
    parser.add_argument("-o", "--out", metavar="FILE", default="page.html", help="file to write (default page.html)")
    inputs.add_arguments(parser)


def page(arguments: Namespace) -> None:
    """Read, build, write."""
    from npunet.audit import page as pages
    from npunet.audit.oddities import oddities

    outputs.refuse_all(arguments)
    if (integers := models.open_integer(arguments.model)) is not None:
        whole_numbers(integers, arguments)
        return
    shown, told, names, model = inputs_of(arguments)
    odd = oddities(model.params, shown.graph, shown.rank)
    compared = None if arguments.compare is None else compared_with(arguments.compare, shown)
    write_text(arguments.out, pages.page(shown, told, names, odd, arguments.layers, compared))
    print(f"wrote   {arguments.out}: {shown.title}, {len(shown.graph.nodes)} layers as {shown.level}, on {told}; "
          "open it in a browser")


def whole_numbers(model: IntegerModel, arguments: Namespace) -> None:
    """The page of an integer network."""
    from npunet.audit.integer_page import integer_page

    if arguments.compare is not None:
        raise ValueError(f"{arguments.model} is an integer network; --compare lays over float ones")
    x, told = integers_of(model, arguments)
    network, images = model.admit(x)
    write_text(arguments.out, integer_page(network, images[0], told, model.class_names, arguments.layers))
    print(f"wrote   {arguments.out}: {network.name}, {len(network.nodes)} integer layers, {network.scheme}, on {told}; "
          "open it in a browser")


def integers_of(model: IntegerModel, arguments: Namespace) -> tuple[np.ndarray, str]:
    """One sample as an integer network takes it, and what it is in words."""
    from npunet.audit.subject import example
    from npunet.cli.predict import meaning_of

    if arguments.input is None:
        inputs.refuse_options(arguments, "there is no input file")
        return model.quantize_input(example(model.dequantized())[None]), "a sample made by formulas"
    face = models.with_float_face(model)
    batch = sources.batch(arguments.input, face, meaning_of(face), arguments)
    return model.quantize_input(batch.x[:1]), batch.told


def compared_with(path: str, shown: Subject) -> Comparison:
    """What a file holds to be laid over a network: a model, or a verification."""
    from npunet.audit.comparison import with_model, with_verification

    if models.is_model(path):
        return with_model(shown, models.open_network(path), Path(path).name)
    with reading(path, "is no model and not what npunet verify --json writes", "name either"):
        text = Path(path).read_text(encoding="utf-8")
    return with_verification(shown, text, Path(path).name)


def inputs_of(arguments: Namespace) -> tuple[Subject, str, tuple[str, ...], UNet]:
    """The network on its input, what that is in words, the names of the classes, and the model."""
    from npunet.audit.subject import subject
    from npunet.cli.predict import meaning_of
    from npunet.cli.trace import padded

    opened = models.open_model(arguments.model, arguments.seed)
    model, face = models.network_of(opened), models.with_float_face(opened)
    meaning = meaning_of(face)
    untrained = ", with random weights: it is not trained" if models.is_described(arguments.model) else ""
    if arguments.input is None:
        inputs.refuse_options(arguments, "there is no input file")
        told = "a sample made by formulas" + untrained
        return subject(model, None, arguments.level), told, meaning.class_names, model
    batch = sources.batch(arguments.input, face, meaning, arguments)
    x = padded(model, batch.x[:1])
    told = batch.told if len(batch.x) == 1 else f"{batch.names[0]} of {batch.told}"
    return subject(model, x, arguments.level), told + untrained, meaning.class_names, model
