"""The instruction set: what the columns of a program's table mean.

A program is an int64 table, one instruction a row. Offsets, pitches and steps count float32 elements from the start of
the arena; weights and biases count from the start of the constants. A pitch is the distance between two neighbours:
rows of an image (`*_ROW`) or positions of a row (`*_COL`). An image's offset is that of its first inner pixel: its halo
of zeros lies before and after it.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from npunet.ops.table import ACTIVATIONS

STREAMS, STREAM_COLUMNS = 4, 5  # prefetch streams of a convolution, and int64 that describe one: see kernels.prefetch


class Op(IntEnum):
    """What an instruction does."""

    COPY_IN = 0  # the user's sample into the arena
    COPY_OUT = 1  # the arena's image to the user
    CONV = 2  # dense convolution, fused with what its flags say
    SEPARABLE = 3  # depthwise into a row of scratch, then 1x1 from it
    DEPTHWISE = 4  # depthwise convolution alone
    MAX_POOL = 5
    UPSAMPLE = 6
    ADD = 7
    CONCAT = 8
    ACTIVATE = 9  # an activation that no convolution could take in
    LAYER_NORM = 10
    SOFTMAX = 11
    WINOGRAD = 12  # dense 3x3 convolution by tiles of 4x4 outputs
    MOVE = 13  # rows of a line buffer to its start
    SPREAD = 14  # of integers: an image, each position COPIES times, among the channels of another
    AVG_POOL = 15  # of integers


CONVOLUTIONS = (Op.CONV, Op.SEPARABLE, Op.DEPTHWISE, Op.WINOGRAD)
POOLS = (Op.MAX_POOL, Op.AVG_POOL)


class Flag(IntEnum):
    """What a convolution does besides summing, as bits of FLAGS."""

    CONTINUE = 1  # start from what the output holds instead of 0
    BIAS = 2
    RELU = 4  # clamp below at 0
    RELU6 = 8  # and above at 6
    ADD = 16  # add the image at ADDEND last
    SPREAD = 32  # write every result COPIES_Y x COPIES_X times: nearest upsampling of the output
    FUSE_NEXT = 64  # the next instruction adds to what this one gives: both can be done tile by tile
    SUMS = 128  # of integers: leave int32 sums, which another CONTINUEs; that one adds them from ADDEND


class Alone(IntEnum):
    """How several threads do a group."""

    SHARE = 0  # each does some of it, then waits for the others
    GO_ON = 1  # each has its own, and goes on
    WAIT = 2  # each has its own, and waits for the others


class Field(IntEnum):
    """Columns of an instruction. What an operator does not use is 0."""

    OP = 0
    FLAGS = 1
    X = 2  # input image: offset of its first inner pixel, pitches, size
    X_ROW = 3
    X_COL = 4
    X_HEIGHT = 5
    X_WIDTH = 6
    CHANNELS = 7  # channels of the input, without padding
    Y = 8  # output image
    Y_ROW = 9
    Y_COL = 10
    HEIGHT = 11
    WIDTH = 12
    VECTORS = 13  # vectors of output channels
    TOP = 14  # halo of the output image, to be filled with zeros
    BOTTOM = 15
    LEFT = 16
    RIGHT = 17
    KH = 18  # taps, or window, or upsampling factor
    KW = 19
    START = 20  # from an output's own position to its first tap, in elements
    TAP_ROW = 21  # between taps
    TAP_COL = 22
    STRIDE_Y = 23
    STRIDE_X = 24
    PAD_TOP = 25
    PAD_LEFT = 26
    WEIGHTS = 27
    BIAS = 28
    ADDEND = 29  # second image: of an add, a concat, or the ADD flag
    ADDEND_ROW = 30
    ADDEND_COL = 31
    DEPTHWISE_WEIGHTS = 32
    SCRATCH = 33  # one row of positions for every thread
    SCRATCH_SIZE = 34  # elements a thread
    KIND = 35  # which activation
    ADDEND_CHANNELS = 36
    COPIES_Y = 37  # of a convolution's output; 1 without SPREAD
    COPIES_X = 38
    GROUP = 39  # instructions of the group that this one heads; 1 alone, 0 inside a group
    BLOCK = 40  # positions of a row that a group of convolutions does before it goes to the next row
    ALIGN_Y = 41  # what a group's rows and positions can be cut at: the largest COPIES of its members
    ALIGN_X = 42
    FEW_FILTERS = 43  # number of filters of a convolution whose vectors run along positions; 0 for all others
    PITCH = 44  # elements of one of its transposed rows
    TILES = 45  # tiles that a WINOGRAD transforms at a time
    ROW_BLOCK = 46  # rows of its output that it does before the others of its group
    ALONE = 47  # whether threads share it, see Alone
    EPS = 45  # of a layer norm, in the column of TILES (a row stays six cache lines): the bits of a float64


FIELDS = len(Field)
ACTIVATION_KINDS = {name: number for number, name in enumerate(ACTIVATIONS)}
LINEAR = len(ACTIVATION_KINDS)  # the kind of no activation


def bits_of(value: float) -> int:
    """A float64 as the int64 that a field holds."""
    return int(np.float64(value).view(np.int64))
