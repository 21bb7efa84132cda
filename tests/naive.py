"""Slow definitions, one index at a time: what the operators are measured against.

Arithmetic is that of NumPy scalars of x's dtype, one rounding an operation; a fused multiply-add is the C library's
fmaf. Nothing here is shared with the package.
"""

import ctypes
import ctypes.util
import math

import numpy as np

_fmaf = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6").fmaf
_fmaf.argtypes, _fmaf.restype = [ctypes.c_float] * 3, ctypes.c_float


def fma(a, b, c):
    """The C library's fused multiply-add of float32."""
    return np.float32(_fmaf(a, b, c))


def multiply_add(acc, x, w, arithmetic):
    """acc + x * w with two roundings, or with one under seq_fma."""
    return fma(x, w, acc) if arithmetic == "seq_fma" else acc + x * w


def taps(size, kernel, stride, pads, dilation):
    """For one axis: the list over outputs of [(tap, input index), ...], taps outside the image skipped."""
    outputs = []
    start = -pads[0]
    while start + (kernel - 1) * dilation < size + pads[1]:
        places = [(k, start + k * dilation) for k in range(kernel)]
        outputs.append([(k, i) for k, i in places if 0 <= i < size])
        start += stride
    return outputs


def conv2d(x, w, b=None, *, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), arithmetic="seq"):
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    rows = taps(H, KH, stride[0], pads[0], dilation[0])
    columns = taps(W, KW, stride[1], pads[1], dilation[1])
    y = np.empty((N, len(rows), len(columns), F), x.dtype)
    for n, i, j, f in np.ndindex(y.shape):
        acc = x.dtype.type(0)
        for ky, row in rows[i]:
            for kx, column in columns[j]:
                for c in range(C):
                    acc = multiply_add(acc, x[n, row, column, c], w[ky, kx, c, f], arithmetic)
        y[n, i, j, f] = acc if b is None else acc + b[f]
    return y


def depthwise_conv2d(x, w, b=None, *, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), arithmetic="seq"):
    C, M = w.shape[2:]
    parts = []
    for c in range(C):
        bias = None if b is None else b[c * M : (c + 1) * M]
        attrs = {"stride": stride, "pads": pads, "dilation": dilation, "arithmetic": arithmetic}
        parts.append(conv2d(x[..., c : c + 1], w[:, :, c : c + 1], bias, **attrs))
    return np.concatenate(parts, -1)


def separable_conv2d(x, depthwise_kernel, pointwise_kernel, bias=None, *, arithmetic="seq", **attrs):
    h = depthwise_conv2d(x, depthwise_kernel, **attrs, arithmetic=arithmetic)
    return conv2d(h, pointwise_kernel, bias, arithmetic=arithmetic)


def pool2d(x, reduce, window, stride, pads):
    N, H, W, C = x.shape
    rows = taps(H, window[0], stride[0], pads[0], 1)
    columns = taps(W, window[1], stride[1], pads[1], 1)
    y = np.empty((N, len(rows), len(columns), C), x.dtype)
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = reduce([x[n, row, column, c] for _, row in rows[i] for _, column in columns[j]])
    return y


def max_pool2d(x, *, window, stride, pads):
    return pool2d(x, max, window, stride, pads)


def avg_pool2d(x, *, window, stride, pads):
    def mean(values):
        total = x.dtype.type(0)
        for value in values:
            total = total + value
        return total / x.dtype.type(len(values))

    return pool2d(x, mean, window, stride, pads)


def upsample_nearest2d(x, *, factor):
    N, H, W, C = x.shape
    y = np.empty((N, H * factor[0], W * factor[1], C), x.dtype)
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = x[n, i // factor[0], j // factor[1], c]
    return y


def mean_and_variance(values):
    """Biased, summed one after another in float64, unrounded."""
    total = np.float64(0)
    for value in values:
        total = total + np.float64(value)
    mean = total / len(values)
    total = np.float64(0)
    for value in values:
        total = total + (np.float64(value) - mean) * (np.float64(value) - mean)
    return mean, total / len(values)


def batch_norm_train(x, gamma, beta, *, eps):
    statistics = [mean_and_variance(x[..., c].ravel()) for c in range(x.shape[-1])]
    mean, var = (np.array(values).astype(x.dtype) for values in zip(*statistics, strict=True))
    return batch_norm_inference(x, gamma, beta, mean, var, eps=eps), {"mean": mean, "var": var}


def batch_norm_inference(x, gamma, beta, mean, var, *, eps):
    y = np.empty_like(x)
    for *place, c in np.ndindex(x.shape):
        inv = gamma[c] * (x.dtype.type(1) / np.sqrt(var[c] + x.dtype.type(eps)))
        shift = beta[c] - mean[c] * inv
        y[(*place, c)] = x[(*place, c)] * inv + shift
    return y


def layer_norm(x, gamma, beta, *, axes, eps):
    """For axes (1, 2) of (N, H, W, C) alone."""
    assert axes == (1, 2)
    y = np.empty_like(x)
    for n, c in np.ndindex(x.shape[0], x.shape[3]):
        mean, var = mean_and_variance(x[n, :, :, c].ravel())
        inv = x.dtype.type(1 / np.sqrt(var + eps))
        for i, j in np.ndindex(x.shape[1:3]):
            y[n, i, j, c] = (x[n, i, j, c] - x.dtype.type(mean)) * (inv * gamma[i, j]) + beta[i, j]
    return y


def reduce_exponent(x):
    """n and expm1(x - n ln 2), for float32 x in range."""
    one = np.float32
    n = np.rint(x * one(float.fromhex("0x1.715476p+0")))
    r = (x - n * one(float.fromhex("0x1.63p-1"))) - n * one(float.fromhex("-0x1.bd0106p-13"))
    q = one(float.fromhex("0x1.9e7c7cp-13"))
    for c in ("0x1.6d3a6p-10", "0x1.1112d4p-7", "0x1.5554f8p-5", "0x1.555554p-3", "0x1p-1"):
        q = q * r + one(float.fromhex(c))
    return int(n), r + (r * r) * q


def exp32(x):
    if math.isnan(x):
        return x
    if x < float.fromhex("-0x1.5d589ep+6"):
        return np.float32(0)
    if x > float.fromhex("0x1.62e42ep+6"):
        return np.float32(np.inf)
    n, p = reduce_exponent(x)
    return np.float32(math.ldexp(np.float32(1) + p, n))


def expm1_32(x):
    if math.isnan(x):
        return x
    if x < float.fromhex("-0x1.5d589ep+6"):
        return np.float32(-1)
    if x > float.fromhex("0x1.62e42ep+6"):
        return np.float32(np.inf)
    n, p = reduce_exponent(x)
    if n >= 25:
        return exp32(x)
    return np.float32(math.ldexp(p, n)) + (np.float32(math.ldexp(1, n)) - np.float32(1))


def softmax(x):
    """Declared, in float32; over the last axis."""
    y = np.empty_like(x)
    for place in np.ndindex(x.shape[:-1]):
        exps = [exp32(value - max(x[place])) for value in x[place]]
        total = np.float32(0)
        for value in exps:
            total = total + value
        y[place] = [value / total for value in exps]
    return y


def crossentropy(z, label):
    """-log of the softmax of one position's logits at its label, in float64."""
    return math.log(sum(math.exp(value) for value in z)) - z[label]


def probabilities(z):
    """Softmax of one position, in float64."""
    exps = [math.exp(value) for value in z]
    return [value / sum(exps) for value in exps]
