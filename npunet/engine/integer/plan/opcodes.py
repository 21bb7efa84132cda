"""What integer instructions have besides the common columns: their own, behind them in the table, and the modes of
requantisation.

WEIGHTS, DEPTHWISE_WEIGHTS and BIAS count bytes from the start of the constants, which begin with zeros; what counts
elements counts int16.
"""

from __future__ import annotations

from enum import IntEnum

from npunet.engine.plan.opcodes import FIELDS

ADDITION_WORDS = 26  # int32 of an addition's record, see constants.addition
INT8_LEFT = 20  # left shift of an addition's operands of int8
FAR = -1  # in a softmax' table of exponentials: so far below the maximum that it counts as nothing
EXP_TABLE, RECIPROCAL_TABLE = 16, 16 + 2 * 520  # bytes from a 16-bit softmax' parameters to its tables


class Mode(IntEnum):
    """How sums are requantised: the profile, and what may be left out."""

    D = 0  # no left shifts, every right shift at least 1, |acc| < 2^30: weights and bias are doubled
    D_ANY = 1
    S = 2  # no left shifts, every right shift at least 1
    S_ANY = 3
    LONG = 4  # 16x8 with a bias of 64 bits; what is added to it, by profile D
    LONG_S = 5  # the same, what is added to it by profile S


class Kind(IntEnum):
    """What an ACTIVATE does to each value."""

    RESCALE = 0
    LEAKY_RELU = 1
    TABLE = 2  # of 256 entries
    LINES = 3  # of 513 entries, interpolated


class Extra(IntEnum):
    """The columns behind opcodes.Field. What an operator does not use is 0."""

    MODE = FIELDS
    PARAMS = FIELDS + 1  # multipliers, shifts and long biases, see constants.finish
    LOW = FIELDS + 2  # clamp, less the output's zero point
    HIGH = FIELDS + 3
    WIDE = FIELDS + 4  # 1 where sums are kept in 64 bits, tap by tap
    DEPTHWISE_MODE = FIELDS + 5  # the same of the depthwise half of a SEPARABLE
    DEPTHWISE_PARAMS = FIELDS + 6
    DEPTHWISE_BIAS = FIELDS + 7
    DEPTHWISE_LOW = FIELDS + 8
    DEPTHWISE_HIGH = FIELDS + 9
    ADDITION = FIELDS + 10  # record of an addition, fused (flag ADD) or alone
    ZERO = FIELDS + 11  # zero point, of what is read or written at the two ends, of a table's input; of bytes, and 128
    PLACE = FIELDS + 12  # channel of the output that a SPREAD begins at
    BYTES = FIELDS + 13  # of a value of the user's
    WORDS = FIELDS + 14  # pairs of channels, or fours of them, of a run of taps
    PAIRED = FIELDS + 15  # 1 where a depthwise convolution takes neighbouring taps of a row in pairs
    HALVED = FIELDS + 16  # operand of an addition with the factor 1/2: 0 for a convolution's result, 1 the other, or -1
    WINOGRAD = FIELDS + 17  # 1 for a convolution by Winograd's algorithm, two rows at a time
    ROWS = FIELDS + 18  # rows of the output that a convolution of bytes packs its input for; 0 for one of pairs
    SPAN = FIELDS + 19  # elements of a row from a position's first tap to behind its last


COLUMNS = FIELDS + len(Extra)
