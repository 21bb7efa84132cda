"""The instruction set of a training step: what the columns of its table mean.

A program is an int64 table, one instruction a row. Offsets, pitches and steps count float32 elements from the start of
the arena; parameters and their gradients count from the start of the flat blocks; sums are float64 and count from the
start of theirs. A tensor is (N, H, W, C) with channels padded to whole vectors and a halo of zeros; its offset is that
of the first inner pixel of the first sample.
"""

from __future__ import annotations

from enum import IntEnum

from npunet.engine.plan.opcodes import ACTIVATION_KINDS, LINEAR, STREAM_COLUMNS, STREAMS


class Mode(IntEnum):
    """How threads share an instruction, or the group of instructions that it heads."""

    ROWS = 0  # samples, or chunks of rows, of a group done row by row
    TILES = 1  # tiles of the result, each summed over the whole batch
    SPREAD = 2  # every instruction of the group is one thread's


class Op(IntEnum):
    """What an instruction does."""

    # Mode.ROWS: one row of one sample at a time
    COPY_IN = 0  # the batch into the arena
    MASK_IN = 1  # y = x * dropout mask
    CONV = 2
    DEPTHWISE = 3
    STATISTICS = 4  # sums of x and x^2 for batch norm
    NORMALISE = 5  # y = activation(x * inv + shift)
    ACTIVATE = 6
    LAYER_NORM = 7  # at the last row of a sample
    MAX_POOL = 8  # and, into Z, which tap won
    UPSAMPLE = 9
    LOSS = 10  # logits to their gradient, and the loss
    NORM_SUMS = 11  # sums of g and g * h, g the gradient before the activation, h the normalised input
    NORM_DX = 12
    ACTIVATE_DX = 13
    LAYER_NORM_DX = 14  # at the last row of a sample
    MAX_POOL_DX = 15
    UPSAMPLE_DX = 16
    DEPTHWISE_DW = 17
    BIAS_SUMS = 18
    PROBABILITIES = 19  # softmax, and the sums of the Dice overlaps
    CONV_DW = 20  # also Mode.TILES
    FEW_FILTERS = 21  # CONV with few filters, see kernels.few_filters: reads the parameters, has its scratch in U
    # Mode.SPREAD
    PACK = 32  # weights in the order in which a kernel reads them
    STATISTICS_END = 33  # mean, variance, inv and shift of a batch norm
    NORM_END = 34  # dgamma, dbeta, and what NORM_DX multiplies by
    SUMS_END = 35  # chunks' sums to a gradient
    LAYER_NORM_DW = 36
    LOSS_END = 37
    DICE_END = 38
    REGULARISE = 39  # adds 2 * factor * w to a kernel's gradient, and sums w^2
    TOTAL_END = 40  # the loss with its regularisation; decides whether there will be an update
    SQUARES = 41  # sum of g^2, for clipping
    CLIP_END = 42
    UPDATE = 43
    MOVE = 44  # moving statistics
    CONV_DW_END = 45


class Flag(IntEnum):
    """Bits of FLAGS; the first six are those of engine.opcodes."""

    CONTINUE = 1
    BIAS = 2
    RELU = 4
    RELU6 = 8
    ADD = 16
    SPREAD = 32
    WHOLE = 64  # PACK: one block, whatever the number of vectors
    TRANSPOSED = 128  # CONV_DW: tiles of filters x vectors of channels


class Field(IntEnum):
    """Columns of an instruction. What an operator does not use is 0."""

    OP = 0
    MODE = 1
    GROUP = 2  # instructions of the group that this one heads; 0 inside a group
    LAG = 3  # rows by which an instruction comes behind the first of its group
    LAST_LAG = 4  # the largest of them
    ROWS = 5  # rows of a sample that are done one by one
    CHUNKS = 6  # chunks of rows in a sample: the units whose sums are kept apart
    CHUNK_ROWS = 7
    FLAGS = 8
    KIND = 9  # activation, loss, way of clipping or optimiser
    X = 10
    X_SAMPLE = 11
    X_ROW = 12
    X_COL = 13
    X_RING = 14  # rows kept of x, if that is not all of them: row i stands where i modulo so many says
    X_HEIGHT = 15
    X_WIDTH = 16
    CHANNELS = 17  # channels of x, without padding
    Y = 18
    Y_SAMPLE = 19
    Y_ROW = 20
    Y_COL = 21
    Y_RING = 22
    HEIGHT = 23
    WIDTH = 24
    VECTORS = 25  # vectors of channels of y
    TOP = 26  # halo of y, to be filled with zeros
    BOTTOM = 27
    LEFT = 28
    RIGHT = 29
    MIRRORED = 30  # rows of y's ring buffer that stand behind it once more, for readers that reach over its end
    Z = 31
    Z_SAMPLE = 32
    Z_ROW = 33
    Z_COL = 34
    Z_RING = 35
    U = 36
    U_SAMPLE = 37
    U_ROW = 38
    U_COL = 39
    U_RING = 40
    KH = 41  # taps, window or factor
    KW = 42
    FIRST_ROW = 43  # from an output's own row to that of its first tap
    START = 44  # from an output's own column to its first tap
    TAP_ROW = 45
    TAP_COL = 46
    STRIDE_Y = 47
    STRIDE_X = 48
    PAD_TOP = 49
    PAD_LEFT = 50
    WEIGHTS = 51  # packed, in the arena
    BIAS = 52
    COPIES_Y = 53
    COPIES_X = 54
    NORM = 55  # constants of a norm: NORM_ROWS rows of padded channels
    SUMS = 56
    SUMS_SIZE = 57  # float64 of one chunk
    PARAM = 58  # offset in the blocks of parameters and gradients
    PARAM_2 = 59
    SIZE = 60
    TERMS = 61  # N * H * W of a mean
    Z_WIDTH = 62
    TAPS = 63  # KH * KW * rows of CONV_DW's tiles (channels, or filters), these rounded up to even
    BLOCK_ROWS = 64  # positions summed in float32 at a time: rows and columns
    BLOCK_COLS = 65
    STEP_A = 66  # of PACK: source steps along kernel rows, kernel columns, input channels, output channels
    STEP_B = 67
    STEP_R = 68
    STEP_C = 69
    SLOT = 70  # of a regulariser's or a gradient's square sum
    SLOTS = 71
    MASK = 72  # offset of the dropout mask
    PITCH = 73  # elements of a transposed row of a FEW_FILTERS
    EPS = 73  # of a norm, in the column of PITCH: the bits of a float64, see engine.plan.opcodes.bits_of
    STREAMS = 74  # the first column of the prefetch streams of a convolution, see plan.step_prefetch


FIELDS = Field.STREAMS + (STREAMS + 1) * STREAM_COLUMNS  # the last stream is empty
NORM_ROWS = 7  # mean, r, inv, shift; then what NORM_DX multiplies by: see sums.norm_end


class Number(IntEnum):
    """Places in the float64 array that carries numbers into a step and out of it."""

    LOSS = 0
    FINITE = 1  # 1 when the loss is, else 0 and nothing is updated
    COUNTED = 2  # positions that count
    IGNORED = 3  # the label that does not
    GAMMA = 4  # of the focal loss
    L2 = 5  # factor
    RATE = 6
    DECAY = 7
    MOMENTUM = 8  # or alpha
    TOWARD_1 = 9
    TOWARD_2 = 10
    EPSILON = 11
    CLIP = 12
    CLIP_SCALE = 13
    KEEP = 14  # of moving statistics
    TAKE = 15
    EACH = 16  # 1 when Dice judges every class of every sample by itself
    SHARE = 17  # of each of its overlaps in the loss
    WEIGHTS = 18  # of classes, one after another; then, for Dice, an overlap and a size for each class of each sample


BOUNDED = (ACTIVATION_KINDS["relu6"], ACTIVATION_KINDS["relu"], LINEAR)  # pass their input on between two bounds
CROSSENTROPY, CROSSENTROPY_OF_SOFTMAX, FOCAL, DICE, SQUARED_ERROR = range(5)
NO_CLIP, CLIP_NORM, CLIP_GLOBAL, CLIP_VALUE = range(4)
DESCENT, MOMENTUM, NESTEROV, ADAM = range(4)
