"""Integer networks: int8 and 16x8, with the integers that TFLite-Micro gives.

    network      the whole description, plain data      model   what a user holds: predict, trace, save, export
    fixed_point  multipliers, shifts, roundings         ops     the operators, by their formulas
    parameters   the integers of each operator, from scales and zero points
    run          the executor                           check, bounds   what is refused before anything runs
    quantization from a trained float network to an integer one
    storage      .npz; a .tflite is read and written by npunet.formats.tflite
"""

from npunet.integer.model import IntegerModel
from npunet.integer.quantization.quantize import quantize

__all__ = ["IntegerModel", "quantize"]
