"""The integer operators once more, one value at a time in Python's whole numbers: the judge where no runtime is one.

Written from the formulas alone; nothing here is shared with the package.
"""

import itertools
import math

import numpy as np


def floor_half_up(numerator, bits):
    """numerator / 2^bits, rounded to the nearest, ties upwards."""
    return (2 * numerator + 2**bits) // 2 ** (bits + 1)


def away_from_zero(numerator, bits):
    """numerator / 2^bits, rounded to the nearest, ties away from zero."""
    magnitude = (2 * abs(numerator) + 2**bits) // 2 ** (bits + 1)
    return magnitude if numerator >= 0 else -magnitude


def requantize(x, m, s, rounding):
    """D: the doubled high half of the product rounded, then the right shift rounded. S: one rounding of the whole."""
    if rounding == "S":
        return floor_half_up(x * m, 31 - s)
    return away_from_zero(floor_half_up(x * 2 ** max(s, 0) * m, 31), max(-s, 0))


def requantize_64(x, m, s):
    reduced = (m + 2**15) // 2**16 if m < 0x7FFF0000 else 0x7FFF
    return floor_half_up(x * reduced, 15 - s)


def clamp(value, low, high):
    return max(low, min(high, value))


def positions(shape, window, stride, pads, dilation=(1, 1)):
    """For every output position (i, j): the taps inside the image, [(ky, kx, row, column)]."""
    counts = [(shape[a] + sum(pads[a]) - (window[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1)]
    for i, j in itertools.product(*map(range, counts)):
        taps = []
        for ky, kx in itertools.product(*map(range, window)):
            row = i * stride[0] + ky * dilation[0] - pads[0][0]
            column = j * stride[1] + kx * dilation[1] - pads[1][0]
            if 0 <= row < shape[0] and 0 <= column < shape[1]:
                taps.append((ky, kx, row, column))
        yield (i, j), taps


def out_shape(shape, window, stride, pads, dilation=(1, 1)):
    return tuple((shape[a] + sum(pads[a]) - (window[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1))


def conv2d(x, *, weights, bias, multiplier, shift, stride, pads, dilation, input_offset, output_offset, act_min,
           act_max, rounding):
    F, wide = weights.shape[3], bias.dtype == np.int64
    y = np.zeros((len(x), *out_shape(x.shape[1:3], weights.shape[:2], stride, pads, dilation), F), np.int64)
    for n, f in itertools.product(range(len(x)), range(F)):
        for at, taps in positions(x.shape[1:3], weights.shape[:2], stride, pads, dilation):
            acc = int(bias[f])
            for ky, kx, row, column in taps:
                for c in range(x.shape[3]):
                    acc += (int(x[n, row, column, c]) + input_offset) * int(weights[ky, kx, c, f])
            m, s = int(multiplier[f]), int(shift[f])
            scaled = requantize_64(acc, m, s) if wide else requantize(acc, m, s, rounding)
            y[(n, *at, f)] = clamp(scaled + output_offset, act_min, act_max)
    return y


def depthwise_conv2d(x, *, weights, **others):
    """As conv2d with the weights of every other channel zero."""
    KH, KW, C, M = weights.shape
    dense = np.zeros((KH, KW, C, C * M), np.int8)
    for c in range(C):
        dense[:, :, c, c * M : (c + 1) * M] = weights[:, :, c]
    return conv2d(x, weights=dense, **others)


def max_pool2d(x, *, window, stride, pads, act_min, act_max):
    return _pool(x, window, stride, pads, act_min, act_max, max)


def avg_pool2d(x, *, window, stride, pads, act_min, act_max):
    def mean(values):
        magnitude = (2 * abs(sum(values)) + len(values)) // (2 * len(values))
        return magnitude if sum(values) > 0 else -magnitude

    return _pool(x, window, stride, pads, act_min, act_max, mean)


def _pool(x, window, stride, pads, act_min, act_max, reduce):
    y = np.zeros((len(x), *out_shape(x.shape[1:3], window, stride, pads), x.shape[3]), np.int64)
    for n, c in itertools.product(range(len(x)), range(x.shape[3])):
        for at, taps in positions(x.shape[1:3], window, stride, pads):
            values = [int(x[n, row, column, c]) for _, _, row, column in taps]
            y[(n, *at, c)] = clamp(reduce(values), act_min, act_max)
    return y


def add(a, b, *, left_shift, input1_offset, input1_multiplier, input1_shift, input2_offset, input2_multiplier,
        input2_shift, output_offset, output_multiplier, output_shift, act_min, act_max, rounding):
    def one(p, q):
        first = requantize((p + input1_offset) * 2**left_shift, input1_multiplier, input1_shift, rounding)
        second = requantize((q + input2_offset) * 2**left_shift, input2_multiplier, input2_shift, rounding)
        total = requantize(first + second, output_multiplier, output_shift, rounding)
        return clamp(total + output_offset, act_min, act_max)

    return np.array([one(int(p), int(q)) for p, q in zip(a.ravel(), b.ravel(), strict=True)]).reshape(a.shape)


def rescale(x, *, input_offset, output_offset, multiplier, shift, act_min, act_max, rounding):
    def one(p):
        return clamp(requantize(p + input_offset, multiplier, shift, rounding) + output_offset, act_min, act_max)

    return np.array([one(int(p)) for p in x.ravel()]).reshape(x.shape)


def leaky_relu(x, *, input_offset, output_offset, positive_multiplier, positive_shift, negative_multiplier,
               negative_shift, act_min, act_max, rounding):
    def one(p):
        p += input_offset
        m, s = (positive_multiplier, positive_shift) if p >= 0 else (negative_multiplier, negative_shift)
        return clamp(requantize(p, m, s, rounding) + output_offset, act_min, act_max)

    return np.array([one(int(p)) for p in x.ravel()]).reshape(x.shape)


def table(x, *, table):
    def one(p):
        if len(table) == 256:
            return int(table[p + 128])
        left, part = divmod(p + 32768, 128)
        return int(table[left]) + ((int(table[left + 1]) - int(table[left])) * part + 64) // 128

    return np.array([one(int(p)) for p in x.ravel()]).reshape(x.shape)


def layer_norm(x, *, gamma, beta, epsilon, fraction_bits, multiplier, shift, output_offset, act_min, act_max):
    y, n = np.zeros_like(x), gamma.size
    for b, c in itertools.product(range(len(x)), range(x.shape[3])):
        values = [[int(v) for v in row] for row in x[b, :, :, c]]
        total, squares = sum(map(sum, values)), sum(v * v for row in values for v in row)
        v = n * squares - total * total + epsilon
        j = (62 - v.bit_length()) // 2
        r = 2**61 // math.isqrt(v * 4**j)
        for i, row in enumerate(values):
            for k, value in enumerate(row):
                h = away_from_zero((n * value - total) * r, 61 - j - fraction_bits)
                acc = h * int(gamma[i, k]) + int(beta[i, k])
                y[b, i, k, c] = clamp(requantize_64(acc, multiplier, shift) + output_offset, act_min, act_max)
    return y
