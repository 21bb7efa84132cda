"""Integer networks: int8 and 16x8, with the integers that TFLite-Micro gives.

    network      the whole description, plain data
    fixed_point  multipliers, shifts, roundings         ops     the operators, by their formulas
    parameters   the integers of each operator, from scales and zero points
    run          the executor                           check, bounds   what is refused before anything runs
    quantization from a trained float network to an integer one
    resize       the same network at another size

What a user holds is npunet.IntegerModel; files are read and written by npunet.formats (.npz, .tflite).

Who says that an operator's integers are right (tests/test_integer_judges.py, test_integer_ops.py):

    operator                                     int8, 16x8 by profile D             profile S
    conv2d, depthwise_conv2d (separable: both)   TFLite-Micro, LiteRT reference      second writing, TOSA*
    add                                          TFLite-Micro, LiteRT reference      second writing, TOSA*
    rescale (QUANTIZE)                           TFLite-Micro, LiteRT reference      second writing
    concat, max_pool2d, upsample_nearest2d       TFLite-Micro, LiteRT reference      nothing is rounded
    leaky_relu                                   TFLite-Micro, LiteRT reference      second writing
    softmax (8 bits)                             TFLite-Micro, LiteRT reference      the same integers as D
    softmax16, tables f32                        TFLite-Micro                        second writing of its parts
    softmax16, tables f64                        LiteRT reference
    avg_pool2d (no UNet draws it; int8)          TFLite-Micro                        the same integers as D
    relu, relu6                                  clamps of the operators above
    layer_norm, table (ELU, SELU)                second writing: forms of npunet's own, which no runtime has
    reshape                                      a view: nothing is computed

* tosa-tools' reference model with single rounding, in an environment of its own: reference/integer_tosa.py.
"""
