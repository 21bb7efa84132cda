"""Integer networks in the engine: the same planner, interpreter and threads as float, kernels of their own.

    plan     Network -> instructions -> program, with requantisation and additions fused      no Numba
    kernels  dot products of pairs and bytes, requantisation, and what moves integers         Numba
    engine   a network at one size, ready to run

Activations stand in the arena as int16, q - zero point: zero is 0, so halos are zeros, and int8 and 16x8 networks run
in the same kernels. Where a machine multiplies bytes (VNNI), int8 convolutions take rows that are packed to bytes in
scratch. A convolution leaves the int32 sums of a cache block in scratch, [vector][position][lane]; a second
pass requantises them, adds the residual and stores int16. Integer sums are exact in any order.
"""
