"""Faults that leave a part out or read memory that is not theirs any more: kinds that much else would explain too."""

from __future__ import annotations

import re

from causes_faults import DENSE
from causes_further import edit

STORE = "*y++ = acc;"
KX = "for (int kx = 0; kx < s->kw; kx++) {"
TOP = "\ntypedef struct {"


def between_is_output(p, layer):
    """The buffer between the halves of a separable layer is its output's."""
    held = re.search(r"float \*between = arena \+ \d+;", p.net[p.net.index(f"static void layer_{p.number(layer)}(") :])
    return p.inside(layer, held[0], "float *between = y;")


# --- a part that is not computed ----------------------------------------------------------------------------------
edit("mixed", "the last column is not stored", "not computed", lambda p: p.swap(
    STORE, "if (j < s->ow - 1) *y = acc; y++;"))
edit("planes", "filters by four, the rest is left out", "filters not reached", lambda p: p.swap(
    STORE, "if (f < s->f / 4 * 4) *y = acc; y++;"))
edit("oblong", "three workers of a third of the columns, cut", "not computed", lambda p: p.swap(
    STORE, "if (j < s->ow / 3 * 3) *y = acc; y++;"))
edit("mixed", "the last columns of a later layer are not stored", "not computed", lambda p: p.swap(
    STORE, "if (s->c != 8 || j < s->ow - 1) *y = acc; y++;"))
edit("mixed", "half of the input is not brought in", "not computed", lambda p: p.inside(
    "ENC2_skip", "conv2d(in[0]", "static float half[576]; memcpy(half, in[0], sizeof half / 2); conv2d(half"))

# --- memory that something else uses ------------------------------------------------------------------------------
edit("mixed", "eight elements of the skip are overwritten", "overwritten", lambda p: p.inside(
    "DEC1_D2_cat", "concat(", "memset((float *)in[1], 0, 32); concat("))
edit("signal", "buffer between the halves is the output's", "in place", lambda p: between_is_output(p, "ENC1_D2_conv"))
edit("mixed", "an input read from the middle of an earlier tensor", "wrong tensor", lambda p: p.swap(
    TOP, f"\nstatic float kept[576];{TOP}").after("ENC1_D2_act", "memcpy(kept, y + 1152, sizeof kept);").inside(
    "ENC2_skip", "conv2d(in[0]", "conv2d(kept"))

# --- sums and weights ---------------------------------------------------------------------------------------------
edit("mixed", "every row of the kernel begins the sum anew", "one row summed", lambda p: p.swap(
    KX, f"acc = 0.0f; {KX}"))
edit("mixed", "products in Q16.16, all cut", "accumulator precision", lambda p: p.swap(
    "float acc = 0.0f;", "long long acc = 0;").swap(
    DENSE, "acc += (long long)(px[c] * 65536.0f) * (long long)(pw[c * s->f] * 65536.0f) >> 16;").swap(
    STORE, "*y++ = (float)acc / 65536.0f;"))
edit("mixed", "weights in big-endian", "weights of another byte order", lambda p: p.kernel(
    "ENC1_skip", lambda w: w.byteswap()))
