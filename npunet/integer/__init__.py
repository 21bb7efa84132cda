"""Integer networks: int8 and 16x8, with the integers that TFLite-Micro gives.

    network      the whole description, plain data
    fixed_point  multipliers, shifts, roundings         ops     the operators, by their formulas
    parameters   the integers of each operator, from scales and zero points
    run          the executor                           check, bounds   what is refused before anything runs
    quantization from a trained float network to an integer one
    resize       the same network at another size

What a user holds is npunet.IntegerModel; files are read and written by npunet.formats (.npz, .tflite).
"""
