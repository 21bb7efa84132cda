"""Where the reference is odd, and which of that a configuration meets.

Each entry: what it is, what the reference does (and so npunet), what the paper or the documentation lets one expect,
what it costs, and the test that pins it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from npunet.graph import Graph
from npunet.params import UNetParams
from npunet.values import pair

PAPER = "Ronneberger et al. 2015, arXiv:1505.04597"


@dataclass(frozen=True)
class Oddity:
    """One way in which the reference surprises, and the layers of this network that meet it (none: the whole)."""

    what: str
    reference: str
    paper: str
    cost: str
    test: str
    layers: Sequence[str] = ()


@dataclass(frozen=True)
class Case:
    """A configuration that is looked at."""

    params: UNetParams
    graph: Graph
    rank: int


def oddities(params: UNetParams, graph: Graph, rank: int) -> list[Oddity]:
    """Those that a configuration meets."""
    case = Case(params, graph, rank)
    return [found for rule in RULES if (found := rule(case)) is not None]


def _named(graph: Graph, *parts: str) -> list[str]:
    return [node.name for node in graph if all(part in node.name for part in parts)]


def _leftover_dilation(case: Case) -> Oddity | None:
    last = case.params.blocks[-1].resolved(case.rank) if case.params.blocks else None
    if last is None or last.depth == 1 or last.dilation == (1, 1):
        return None
    left = tuple(base ** (last.depth - 1) for base in last.dilation)
    layers = [node.name for node in case.graph
              if node.name.startswith("DEC") and tuple(node.attrs.get("dilation", (1, 1))) == left]
    return Oddity(
        "The decoder uses the dilation that the encoder left over",
        f"Every decoder block's first convolutions have dilation {left[0]} x {left[1]}, that of the last encoder "
        "convolution built", "each block's own dilation, or none: the decoder is described without dilation",
        "no parameters; the decoder looks farther at low resolution, and less densely",
        "tests/test_unet.py::test_decoder_reuses_the_last_encoder_dilation", layers)


def _dilation_is_a_base(case: Case) -> Oddity | None:
    blocks = [block.resolved(case.rank) for block in case.params.blocks]
    dilated = [block for block in blocks if block.dilation != (1, 1)]
    if not dilated:
        return None
    idle = all(block.depth == 1 for block in dilated)
    layers = [node.name for node in case.graph
              if node.name.startswith("ENC") and tuple(node.attrs.get("dilation", (1, 1))) != (1, 1)]
    return Oddity(
        "dilation is a base, not a dilation",
        "Convolution d of a block has dilation^(d-1), per axis; so the first is never dilated"
        + (", and with depth 1 nothing is" if idle else ""), "dilation is the spacing of every convolution's taps",
        "none in parameters; the argument has no effect at depth 1",
        "tests/test_reference.py::test_every_activation_at_inference", layers)


def _output_stride(case: Case) -> Oddity | None:
    if pair(case.params.output_kernel_stride) == (1, 1):
        return None
    return Oddity("output_kernel_stride is never read", "The top's stride stays (1, 1)", "the top has the stride given",
                  "none", "tests/test_unet.py::test_the_top_never_reads_its_stride",
                  ["NECK_conv"] if case.params.include_top else [])


def _fewer_names(case: Case) -> Oddity | None:
    blocks = [number for number, block in enumerate(case.params.blocks, start=1) if block.decoder_depth != block.depth]
    if not blocks:
        return None
    layers = [name for number in blocks
              for name in _named(case.graph, f"DEC{len(case.params.blocks) + 1 - number}_", "_conv")]
    return Oddity(
        "Numbers are skipped in the decoder's names",
        "After D1 ... D{ddepth} the concatenation is D{depth+1} and the last convolution D{depth+2}",
        "consecutive numbers", "none; a port that counts on names must know it",
        "tests/test_unet.py::test_decoder_numbers_are_skipped", layers)


def _square_kernels(case: Case) -> Oddity | None:
    specs = case.graph.weights.values()
    if case.graph.input_shape[0] != 1:
        return None
    tall = [spec for spec in specs if len(spec.shape) == 4 and spec.shape[0] > 1]
    if not tall:
        return None
    wasted = sum((spec.shape[0] - 1) * spec.size // spec.shape[0] for spec in tall)
    return Oddity(
        "An int kernel on a signal is k x k",
        "Only the middle row of such a kernel is ever used: the rest sees padding",
        "a 1-D kernel of k taps", f"{wasted:,} of {sum(spec.size for spec in specs):,} parameters are never read",
        "tests/test_unet.py::test_an_int_kernel_on_a_signal_is_square_and_says_what_it_wastes",
        [spec.name.split("/")[0] for spec in tall])


def _layer_norm(case: Case) -> Oddity | None:
    layers = [node.name for node in case.graph if node.op == "layer_norm"]
    if not layers:
        return None
    size = sum(spec.size for spec in case.graph.weights.values() if ".ln/" in spec.name)
    return Oddity(
        "Layer norm runs over positions, not channels",
        "Mean and variance over H and W for every channel, gamma and beta of shape (H, W)",
        "Ba et al. 2016, arXiv:1607.06450: over the features of one position",
        f"{size:,} parameters that grow with the input's size; the size is fixed; there is no streaming",
        "tests/test_unet.py::test_layer_norm_weights_depend_on_the_length", layers)


def _depthwise_initial(case: Case) -> Oddity | None:
    layers = [node.name for node in case.graph if node.op == "separable_conv2d"]
    if not layers:
        return None
    return Oddity(
        "Depthwise kernels start too small", "he_normal counts KH*KW*C as the fan-in of a depthwise kernel",
        "He et al. 2015, arXiv:1502.01852: the fan-in is KH*KW, what one output sums",
        "the first standard deviation is sqrt(C) too small", "tests/test_audit.py::test_depthwise_kernels_start_small",
        layers)


def _residual_without_skip(case: Case) -> Oddity | None:
    blocks = [number for number, block in enumerate(case.params.blocks, start=1) if not block.skip]
    if not blocks:
        return None
    layers = [name for number in blocks for name in (f"ENC{number}_skip", f"ENC{number}_add")]
    return Oddity(
        "A block with skip False still computes its residual",
        "Only the concatenation and its 1x1 convolution disappear; "
        "ENCi_skip, despite its name, is the residual and stays", "skip False leaves out what is called skip",
        "ENCi_skip's parameters", "tests/test_unet.py::test_a_block_without_skip_keeps_its_residual", layers)


def _dropout(case: Case) -> Oddity | None:
    layers = [node.name for node in case.graph if node.op == "dropout_inference"]
    if not layers:
        return None
    return Oddity("Dropout is in the encoder only",
                  "One mask value an element, on the main path before the residual is added",
                  f"{PAPER}: at the end of the contracting path", "none at inference",
                  "tests/test_unet.py::test_dropouts_are_counted_as_keras_counts_them", layers)


def _differs_from_paper(case: Case) -> Oddity | None:
    if not case.params.blocks:
        return None
    layers = [node.name for node in case.graph if node.op in ("upsample_nearest2d", "concat")]
    return Oddity(
        "It is not the U-Net of the paper", "SAME convolutions, nearest-neighbour upsampling, residuals inside each "
        "block, a norm, ReLU6 by default",
        f"{PAPER}: valid convolutions, transposed-convolution upsampling, cropped skips, no norm, ReLU",
        "sizes stay equal, at the price of padded borders",
        "tests/test_reference.py::test_names_and_counts_are_the_references", layers)


RULES: tuple[Callable[[Case], Oddity | None], ...] = (
    _leftover_dilation, _dilation_is_a_base, _output_stride, _fewer_names, _square_kernels, _layer_norm,
    _depthwise_initial, _residual_without_skip, _dropout, _differs_from_paper,
)
