"""The configurations that are run: plain dictionaries that between them cover every argument in 1-D and 2-D.

A case has `params` (what UNetParams takes), `input_shape`, `num_classes`, `batch`, and what is stored of it:
`loss`, `trace` (every activation instead of three sums of each), `inference_gradients`, `l2_gradients`.
Sizes are small and sit badly together on purpose.
"""

from __future__ import annotations

from typing import Any

CROSS_ENTROPY = "sparse_categorical_crossentropy"
SQUARED_ERROR = "mean_squared_error"


def block(filters: int, **arguments: Any) -> dict[str, Any]:
    """One block's arguments; only what is given is written, so that defaults stay defaults."""
    return {"filters": filters, **arguments}


def case(title: str, input_shape: tuple, num_classes: int, blocks: list, **options: Any) -> dict[str, Any]:
    """One case: `options` that are not about storing go into the network's own arguments."""
    stored = {"batch": 2, "loss": CROSS_ENTROPY, "trace": False, "inference_gradients": False, "l2_gradients": False}
    settings = {key: options.pop(key, default) for key, default in stored.items()}
    params = {"blocks": blocks, **options}
    return {"name": title, "params": params, "input_shape": input_shape, "num_classes": num_classes, **settings}


ECG = {"depth": 2, "ddepth": 1, "kernel": (1, 5), "pool": (1, 3), "strides": (1, 2), "seperable": True}
WAVE = {"kernel": (1, 3), "pool": (1, 3), "strides": (1, 2)}

ONE_D = [
    case("d1_plain", (48, 2), 3, [block(4, **WAVE)], trace=True, inference_gradients=True, l2_gradients=True, batch=3),
    case(
        "d1_ecg_small",
        (48, 1),
        5,
        [block(3, **ECG), block(4, **ECG), block(5, **ECG), block(6, **ECG)],
        output_kernel_size=(1, 5),
        name="ecg",
        l2_gradients=True,
    ),
    case(
        "d1_int_kernel",
        (28, 3),
        4,
        [block(4, kernel=3, pool=2, strides=(1, 2)), block(5, kernel=2, pool=(1, 3), strides=(1, 2))],
        output_kernel_size=3,
        trace=True,
    ),
    case(
        "d1_pool_under_stride",
        (54, 2),
        3,
        [block(4, kernel=(1, 4), pool=(1, 2), strides=(1, 3)), block(5, kernel=(1, 2), pool=(1, 1), strides=(1, 2))],
        output_kernel_size=(1, 4),
    ),
    case(
        "d1_pool_over_stride",
        (30, 1),
        2,
        [block(3, kernel=(1, 3), pool=(1, 5), strides=(1, 2)), block(4, kernel=(1, 5), pool=(1, 4), strides=(1, 3))],
        output_kernel_size=1,
        inference_gradients=True,
    ),
    case(
        "d1_odd_no_stride",
        (13, 4),
        6,
        [block(5, kernel=(1, 3), pool=3), block(3, kernel=(1, 4), pool=(1, 2), strides=1)],
        batch=3,
    ),
    case(
        "d1_layer_norm",
        (20, 2),
        3,
        [block(4, norm="layer", depth=2, ddepth=1, **WAVE), block(3, norm="layer", seperable=True, **WAVE)],
        trace=True,
        inference_gradients=True,
    ),
    case(
        "d1_no_norm_elu",
        (24, 3),
        4,
        [block(4, norm=None, activation="elu", **WAVE), block(5, norm=None, activation="elu", seperable=True, **WAVE)],
        l2_gradients=True,
    ),
    case(
        "d1_dilation_int",
        (36, 2),
        3,
        [block(4, depth=2, dilation=3, **WAVE), block(4, depth=3, ddepth=2, dilation=2, **WAVE)],
        batch=3,
    ),
    case(
        "d1_dropout",
        (28, 2),
        3,
        [block(4, dropout=0.3, depth=2, **WAVE), block(5, dropout=0.0, skip=False, **WAVE)],
        batch=3,
    ),
    case(
        "d1_softmax",
        (26, 1),
        5,
        [block(4, activation="leaky_relu", **WAVE)],
        use_logits=False,
        output_kernel_size=(1, 3),
        trace=True,
        inference_gradients=True,
    ),
    case("d1_no_top", (32, 3), 3, [block(4, **WAVE), block(6, **WAVE)], include_top=False, inference_gradients=True),
    case("d1_no_blocks", (17, 3), 4, [], output_kernel_size=(1, 4), trace=True, inference_gradients=True, batch=3),
    case(
        "d1_skip_mixed",
        (40, 2),
        3,
        [block(3, skip=False, **WAVE), block(4, skip=True, **WAVE), block(5, skip=False, seperable=True, **WAVE)],
        output_kernel_size=(1, 5),
    ),
    case(
        "d1_selu_one_class",
        (45, 2),
        1,
        [
            block(3, activation="selu", kernel=(1, 5), pool=(1, 3), strides=(1, 3)),
            block(4, activation="selu", seperable=True, kernel=(1, 3), pool=(1, 5), strides=(1, 5)),
        ],
        output_kernel_stride=(1, 2),
        loss=SQUARED_ERROR,
    ),
]

TWO_D = [
    case("d2_plain", (6, 10, 3), 4, [block(4, strides=2)], trace=True, inference_gradients=True, l2_gradients=True),
    case(
        "d2_separable",
        (12, 8, 2),
        3,
        [block(4, depth=2, strides=2, pool=2, seperable=True), block(6, ddepth=1, depth=2, strides=2, seperable=True)],
        batch=3,
    ),
    case(
        "d2_strides_mixed",
        (12, 18, 1),
        2,
        [
            block(3, strides=(1, 2), pool=(2, 3), kernel=(3, 2)),
            block(4, strides=(2, 1), pool=(3, 2), kernel=(1, 3)),
            block(5, strides=3, pool=2, kernel=(2, 4)),
        ],
        output_kernel_size=(3, 2),
    ),
    case(
        "d2_norms_mixed",
        (8, 6, 2),
        3,
        [
            block(3, norm="layer", strides=(2, 1), kernel=(2, 3)),
            block(4, norm=None, strides=(2, 3), pool=(2, 3), activation="relu"),
            block(5, norm="batch", strides=(2, 2), pool=1),
        ],
        trace=True,
    ),
    case(
        "d2_dilation_pair",
        (7, 14, 2),
        3,
        [
            block(3, depth=2, dilation=(2, 1), strides=(1, 2), kernel=(3, 2)),
            block(4, depth=3, dilation=(1, 2), kernel=(2, 3), skip=False),
        ],
        trace=True,
    ),
    case(
        "d2_dilation_left_over",
        (9, 9, 2),
        4,
        [
            block(3, depth=3, dilation=2, strides=3, seperable=True, kernel=2),
            block(4, depth=2, dilation=3, seperable=True, ddepth=1),
        ],
    ),
    case(
        "d2_dilation_reset",
        (10, 7, 1),
        3,
        [block(4, depth=3, dilation=(2, 3)), block(3, depth=2, strides=(2, 1), pool=(2, 1))],
        output_kernel_size=2,
    ),
    case(
        "d2_activations",
        (8, 7, 2),
        3,
        [
            block(3, activation="relu", strides=(2, 1), pool=2),
            block(2, activation="leaky_relu", kernel=2),
            block(3, activation="elu", strides=(2, 1), kernel=(1, 3)),
            block(2, activation="selu", kernel=(3, 1)),
            block(3, activation="relu6", kernel=1),
        ],
        batch=3,
    ),
    case(
        "d2_decoder_depths",
        (8, 6, 2),
        3,
        [
            block(3, depth=2, ddepth=0, strides=(2, 1), kernel=(3, 2)),
            block(4, depth=1, ddepth=2, skip=False, strides=(1, 2), kernel=2),
            block(3, depth=3, ddepth=2, strides=(2, 1), kernel=(2, 1)),
            block(2, depth=2, ddepth=2, seperable=True),
        ],
    ),
    case(
        "d2_even_kernels",
        (8, 18, 1),
        5,
        [
            block(3, kernel=(2, 4), pool=(2, 3), strides=(2, 3)),
            block(4, kernel=(4, 2), pool=(4, 2), strides=(2, 3), seperable=True),
        ],
        output_kernel_size=(4, 2),
    ),
    case(
        "d2_softmax",
        (6, 9, 2),
        6,
        [block(4, strides=3, pool=2, activation="relu")],
        use_logits=False,
        inference_gradients=True,
    ),
    case(
        "d2_no_top_no_logits",
        (6, 8, 4),
        2,
        [block(3, strides=2, skip=False), block(4, strides=(3, 2), kernel=(2, 3))],
        include_top=False,
        use_logits=False,
        loss=SQUARED_ERROR,
        trace=True,
        inference_gradients=True,
    ),
    case("d2_no_blocks", (5, 7, 4), 3, [], use_logits=False, output_kernel_size=2, trace=True, l2_gradients=True),
    case(
        "d2_dropout",
        (6, 8, 2),
        3,
        [block(3, dropout=0.3, norm="layer", strides=(2, 1)), block(4, dropout=0.5, seperable=True, strides=(1, 2))],
        batch=3,
        trace=True,
    ),
    case(
        "d2_output_stride_ignored",
        (7, 5, 3),
        3,
        [block(3, norm=None, kernel=(1, 2))],
        output_kernel_size=5,
        output_kernel_stride=2,
        trace=True,
        inference_gradients=True,
    ),
    case(
        "d2_kernel_over_image",
        (8, 4, 1),
        2,
        [
            block(2, kernel=5, strides=(4, 2), pool=(5, 3)),
            block(3, kernel=(5, 4), dilation=2, depth=2, strides=2, pool=7),
        ],
        model_name="wide",
    ),
    case(
        "d2_separable_mixed",
        (11, 7, 3),
        4,
        [
            block(4, depth=2, seperable=True, kernel=(2, 3), norm=None, activation="selu"),
            block(3, depth=1, seperable=False, kernel=(3, 2), skip=False, activation="elu"),
            block(5, depth=1, seperable=True, kernel=3, norm="layer", activation="leaky_relu"),
        ],
        batch=3,
        l2_gradients=True,
    ),
]

CASES = ONE_D + TWO_D
