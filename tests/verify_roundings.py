"""Ports that round otherwise than "seq_fma": multiply-adds that round twice, in one layer only, modes, flushing.

ROUNDINGS: name -> (edits of net.c, names of causes that say it right; none: the list of causes need not have it).
"""

from __future__ import annotations

import platform

from verify_cases import BIAS, DENSE

FUSED = "return fmaf(x, w, acc);"
X87 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
TWO_SUM = "const double p = (double)x * (double)w, s = p + acc, v = s - p, t = (p - (s - v)) + (acc - v);"
HEAD = "typedef struct {\n    int h, w, c, oh"
# The numbers of the first convolution that adds something up.
ONLY = "static const conv_shape *only; if (!only && s->kh * s->kw * s->c > 1) only = s;"
AT_START = "for (int i = 0; i < s->oh; i++)"
FLUSH = "static float kept(float v) { return v < FLT_MIN && v > -FLT_MIN ? copysignf(0.0f, v) : v; }\n"
AWAY = (f"{TWO_SUM} const float near = fmaf(x, w, acc); const double rest = (s - near) + t; "
        "const float other = nextafterf(near, rest > 0 ? INFINITY : -INFINITY); "
        "return t == 0 && rest != 0 && 2 * rest == (double)other - near && fabsf(other) > fabsf(near) ? other : near;")
TO_ZERO = (f"{TWO_SUM} const float near = fmaf(x, w, acc); const double rest = (s - near) + t; "
           "return (rest < 0 && s > 0) || (rest > 0 && s < 0) ? nextafterf(near, 0.0f) : near;")

ROUNDINGS = {
    "sum in double, that to float": (
        [(FUSED, "return (float)((double)x * (double)w + (double)acc);")], {"multiply_add"}),
    "product and sum rounded": ([(FUSED, "volatile float product = x * w; return acc + product;")], {"multiply_add"}),
    "product and sum rounded in one layer": (
        [(DENSE, f"{{ {ONLY} if (s == only) {{ volatile float product = px[c] * pw[c * s->f]; acc += product; }} else "
                 f"{DENSE} }}")],
        {"multiply_add"}),
    "sum in double in one layer": (
        [(DENSE, f"{{ {ONLY} acc = s == only ? (float)((double)px[c] * pw[c * s->f] + (double)acc) : "
                 "multiply_add(px[c], pw[c * s->f], acc); }")], {"multiply_add"}),
    "every row of the kernel in double": (
        [(DENSE, "{ static double wide; static const float *at; static int line; "
                 "if (at != y || line != ky) { wide = acc; at = y; line = ky; } "
                 "wide += (double)px[c] * pw[c * s->f]; acc = (float)wide; }")], {"sum_precision", "rounding"}),
    "ties away from zero": ([(FUSED, AWAY)], {"rounding_mode"}),
    "sums towards zero": ([(FUSED, TO_ZERO)], {"sum_precision"}),
    "small sums flushed": ([(HEAD, FLUSH + HEAD), ("*y++ = acc;", "*y++ = kept(acc);")],
                           {"flush_to_zero", "subnormals_flushed"}),
    "small products flushed": ([(HEAD, FLUSH + HEAD), (DENSE, "acc = kept(multiply_add(kept(px[c]), "
                                                              "kept(pw[c * s->f]), acc));")], {"flush_to_zero"}),
    "small sums become +0": ([("*y++ = acc;", "*y++ = acc < FLT_MIN && acc > -FLT_MIN ? 0.0f : acc;")],
                             {"subnormals_flushed"}),
    "biased sums flushed": ([(HEAD, FLUSH + HEAD), (BIAS, BIAS.replace("y[p * channels + c] + b[c]",
                                                                       "kept(y[p * channels + c] + b[c])"))],
                            {"subnormals_flushed"}),
}
if X87:
    ROUNDINGS |= {
        "sum in 64 bits, that to float": (
            [(FUSED, "return (float)((long double)x * (long double)w + (long double)acc);")], {"multiply_add"}),
        "the machine rounds towards zero": (
            [(AT_START, "extern int fesetround(int); fesetround(0xc00); " + AT_START)],
            {"rounding_mode", "sum_precision"}),
        "the machine rounds upwards": (
            [(AT_START, "extern int fesetround(int); fesetround(0x800); " + AT_START)], {"rounding_mode"}),
    }
SEPARATE = "const float product = x * w;\n    return acc + product;"
ROUNDINGS_SEQ = {  # the same of the order "seq"
    "fused in one layer": (
        [(DENSE, f"{{ {ONLY} {DENSE.replace('multiply_add', '(s == only ? fmaf : multiply_add)')} }}")],
        {"multiply_add"}),
    "sum in double, that to float": (
        [(SEPARATE, "return (float)((double)x * (double)w + (double)acc);")], {"multiply_add"}),
    **{name: ROUNDINGS[name] for name in ("small sums flushed", "small products flushed", "small sums become +0",
                                          "biased sums flushed")},
    **{name: fault for name, fault in ROUNDINGS.items() if name.startswith("the machine")},
}
