"""Kernels that work a value, a position or a channel at a time: activations, softmax, layer norm."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.plan.opcodes import ACTIVATION_KINDS, Field
from npunet.ops import exponential
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

ELU, SELU, LEAKY_RELU = (ACTIVATION_KINDS[name] for name in ("elu", "selu", "leaky_relu"))
RELU6, RELU = ACTIVATION_KINDS["relu6"], ACTIVATION_KINDS["relu"]
SLOPE, SCALE, SCALE_ALPHA = (np.float32(value) for value in (LEAKY_SLOPE, SELU_SCALE, SELU_SCALE * SELU_ALPHA))
ZERO, ONE, SIX = np.float32(0), np.float32(1), np.float32(6)
INFINITY, NOT_A_NUMBER = np.float32(np.inf), np.float32(np.nan)
LOG2E, LN2_HI, LN2_LO = exponential.LOG2E, exponential.LN2_HI, exponential.LN2_LO
LOWEST, HIGHEST = exponential.LOWEST, exponential.HIGHEST
C0, C1, C2, C3, C4, C5 = exponential.COEFFICIENTS


@intrinsic
def power_of_two(typing, n):
    """2^n for n from -126 to 127, made from its exponent bits."""

    def generate(context, builder, signature, arguments):
        int32 = ir.IntType(32)
        biased = builder.add(builder.trunc(arguments[0], int32), int32(127))
        return builder.bitcast(builder.shl(biased, int32(23)), ir.FloatType())

    return types.float32(types.int64), generate


@intrinsic
def float_of(typing, bits):
    """The float64 that an int64 field holds: see opcodes.bits_of."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@jit
def scale(y, n):
    """y * 2^n in two exact steps."""
    half = n >> 1
    return y * power_of_two(half) * power_of_two(n - half)


@jit
def reduce(x):
    """n and expm1(x - n ln 2); see ops.exponential, whose every step this repeats."""
    n = np.float32(np.rint(x * LOG2E))
    r = (x - n * LN2_HI) - n * LN2_LO
    q = C5
    q = q * r + C4
    q = q * r + C3
    q = q * r + C2
    q = q * r + C1
    q = q * r + C0
    return np.int64(n), r + (r * r) * q


@jit
def exp32(x):
    """The declared exponential."""
    if x < LOWEST:
        return ZERO
    if x > HIGHEST:
        return INFINITY
    if np.isnan(x):
        return x
    n, p = reduce(x)
    return scale(ONE + p, n)


@jit
def expm1_32(x):
    """The declared exponential less one."""
    if x < LOWEST:
        return -ONE
    if x > HIGHEST:
        return INFINITY
    if np.isnan(x):
        return x
    n, p = reduce(x)
    if n < 25:
        return scale(p, n) + (scale(ONE, n) - ONE)
    return scale(ONE + p, n)


@jit
def activation(x, kind):
    """One value through the activation of that number."""
    if kind in (RELU6, RELU):
        if x <= ZERO:
            return ZERO
        return SIX if kind == RELU6 and x > SIX else x
    if kind == LEAKY_RELU:
        return x if x > ZERO else SLOPE * x
    if kind == ELU:
        return x if x > ZERO else expm1_32(x)
    if kind == SELU:
        return SCALE * x if x > ZERO else SCALE_ALPHA * expm1_32(x)
    return NOT_A_NUMBER  # no activation has this number


@jit
def activate(p, memory, first, last, left, right):
    """An activation over an image, in place or not; padding channels stay 0."""
    stand_alone()
    for i in range(first, last):
        for j in range(left, right):
            x = p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL]
            y = p[Field.Y] + i * p[Field.Y_ROW] + j * p[Field.Y_COL]
            for c in range(p[Field.CHANNELS]):
                memory[y + c] = activation(memory[x + c], p[Field.KIND])
            for c in range(p[Field.CHANNELS], p[Field.Y_COL]):
                memory[y + c] = ZERO


@jit
def softmax(p, memory, first, last, left, right):
    """Softmax over the channels of every position, summed in class order."""
    stand_alone()
    channels = p[Field.CHANNELS]
    for i in range(first, last):
        for j in range(left, right):
            x = p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL]
            y = p[Field.Y] + i * p[Field.Y_ROW] + j * p[Field.Y_COL]
            most = memory[x]
            for c in range(1, channels):
                if memory[x + c] > most or np.isnan(memory[x + c]):
                    most = memory[x + c]
            total = ZERO
            for c in range(channels):
                value = exp32(memory[x + c] - most)
                total += value
                memory[y + c] = value
            for c in range(channels):
                memory[y + c] = memory[y + c] / total
            for c in range(channels, p[Field.Y_COL]):
                memory[y + c] = ZERO


@jit
def layer_norm(p, memory, constants, first, last):
    """Layer norm over height and width for channels first ... last-1; sums in float64, row-major."""
    stand_alone()
    height, width, eps = p[Field.HEIGHT], p[Field.WIDTH], float_of(p[Field.EPS])
    n = height * width
    for c in range(first, last):
        total = 0.0
        for i in range(height):
            for j in range(width):
                total += np.float64(memory[p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL] + c])
        mean = total / n
        total = 0.0
        for i in range(height):
            for j in range(width):
                off = np.float64(memory[p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL] + c]) - mean
                total += off * off
        inv = np.float32(1.0 / np.sqrt(total / n + eps))
        middle = np.float32(mean)
        for i in range(height):
            for j in range(width):
                x = p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL] + c
                y = p[Field.Y] + i * p[Field.Y_ROW] + j * p[Field.Y_COL] + c
                weight = i * width + j
                gain = inv * constants[p[Field.WEIGHTS] + weight]
                memory[y] = (memory[x] - middle) * gain + constants[p[Field.BIAS] + weight]
