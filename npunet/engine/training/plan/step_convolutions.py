"""Convolutions of a training step, forward and backward."""

from __future__ import annotations

from math import prod
from typing import Any

from npunet.engine.plan.blocking import few_filters_scratch, transposed_pitch
from npunet.engine.plan.layout import FEW_FILTERS_VECTORS
from npunet.engine.plan.taps import POINT, Taps, taps_of
from npunet.engine.target import LANES
from npunet.engine.training.plan.emitter import Emitter
from npunet.engine.training.plan.instructions import WAYS, Instruction, Part, chunks_of, padded
from npunet.engine.training.plan.step_opcodes import Field, Flag, Mode, Op
from npunet.graph import Node, Shape

SHORT = 48  # positions: shorter rows are not worth a cache block of their own


def even(number: int) -> int:
    """The next even number: CONV_DW's tiles take rows by twos."""
    return number + number % 2


class Convolutions(Emitter):
    """Emits convolutions and puts their backward on the tape."""

    def conv(self, name: str, x: str, weights: tuple[str, ...] | list[str], node: Node | None, shape: Shape,
             addend: str = "") -> None:
        """A convolution (1x1 without a node of its own) into a new tensor, and its backward."""
        kernel, bias = weights[0], weights[1] if len(weights) > 1 else ""
        taps = (POINT, POINT) if node is None else self.taps(node, self.graph.weights[kernel].shape)
        flags = (Flag.BIAS if bias else 0) | (Flag.ADD if addend else 0)
        if self.has_few_filters(kernel, taps, addend):
            self.few_filters(name, x, kernel, bias, taps, shape, flags)
        else:
            self.emit(Op.CONV, name, x=self.place(x), y=self.new(name, shape), z=addend, taps=taps,
                      weights=self.pack(kernel, taps), bias=self.pack_bias(bias) if bias else "",
                      fields={Field.FLAGS: flags})

        def backward() -> None:
            dy = self.gradient(name)
            self.kernel_gradient(name, kernel, x, dy, taps)
            if bias:
                self.bias_gradient(name, bias, dy)
            self.pass_back(name, kernel, x, dy, taps)

        self.tape.append(backward)

    def has_few_filters(self, kernel: str, taps: tuple[Taps, Taps], addend: str) -> bool:
        """Whether a convolution has so few filters, and so many taps, that its vectors had better run along positions:
        with a sample, and scratch, for every thread."""
        *shape, _, F = self.graph.weights[kernel].shape
        whole = shape == [each.number for each in taps]
        return len(FEW_FILTERS_VECTORS) >= F and whole and prod(shape) > 1 and not addend and self.threads <= self.batch

    def few_filters(self, name: str, x: str, kernel: str, bias: str, taps: tuple[Taps, Taps], shape: Shape,
               flags: int) -> None:
        *_, C, F = self.graph.weights[kernel].shape
        rows, columns = (each.last - each.first + 1 for each in taps)
        pitch = transposed_pitch(F, shape[1], columns)
        scratch = self.new(f"{name}/transposed", (1, few_filters_scratch(pitch, rows, padded(C)) // LANES, LANES))
        fields = {Field.FLAGS: flags, Field.SIZE: F, Field.PITCH: pitch, Field.PARAM: self.offsets[kernel],
                  Field.PARAM_2: self.offsets[bias] if bias else 0}
        self.emit(Op.FEW_FILTERS, name, x=self.place(x), y=self.new(name, shape), u=scratch, taps=taps, fields=fields)

    def conv_of_concat(self, node: Node, concat: Node) -> None:
        """conv1x1(concat(up(low), skip)) as up(conv1x1(low)) continued over the skip."""
        up, skip = self.graph[concat.inputs[0]], concat.inputs[1]
        (low,), factor = up.inputs, up.attrs["factor"]
        kernel, bias = node.weights[0], node.weights[1] if len(node.weights) > 1 else ""
        channels, taps, name = up.shape[2], (POINT, POINT), node.name
        y = self.new(name, node.shape)
        spread = {Field.FLAGS: Flag.SPREAD if factor != (1, 1) else 0, Field.COPIES_Y: factor[0],
                  Field.COPIES_X: factor[1]}
        self.emit(Op.CONV, name, x=self.place(low), y=y, weights=self.pack(kernel, taps, 0, channels), fields=spread)
        flags = Flag.CONTINUE | (Flag.BIAS if bias else 0)
        self.emit(Op.CONV, name, x=self.place(skip), y=y, weights=self.pack(kernel, taps, channels),
                  bias=self.pack_bias(bias) if bias else "", fields={Field.FLAGS: flags})

        def backward() -> None:
            dy = d_low = self.gradient(name)
            if factor != (1, 1):
                d_low = self.new(f"d {name} at low resolution", (*self.shapes[self.place(low)][:2], node.shape[2]))
                self.emit(Op.UPSAMPLE_DX, name, x=dy, y=d_low, fields={Field.KH: factor[0], Field.KW: factor[1]})
            self.kernel_gradient(name, kernel, low, d_low, taps, 0, channels)
            self.kernel_gradient(name, kernel, skip, dy, taps, channels)
            if bias:
                self.bias_gradient(name, bias, dy)
            self.pass_back(name, kernel, low, d_low, taps, 0, channels)
            self.pass_back(name, kernel, skip, dy, taps, channels)

        self.tape.append(backward)

    def depthwise(self, name: str, x: str, kernel: str, node: Node, shape: Shape) -> None:
        KH, KW, C, _ = self.graph.weights[kernel].shape
        taps = self.taps(node, (KH, KW))
        self.emit(Op.DEPTHWISE, name, x=self.place(x), y=self.new(name, shape), taps=taps,
                  weights=self.pack_depthwise(kernel, taps, flip=False))

        def backward() -> None:
            dy = self.gradient(name)
            if taps[0].number * taps[1].number:
                kept = WAYS * padded(C) // 2  # float32 sums of a tap behind its total
                sums = self.add_sums(f"d {name}/sums", taps[0].number * taps[1].number * (padded(C) + kept))
                steps = {Field.STEP_A: KW * C, Field.STEP_B: C,
                         Field.PARAM: self.offsets[kernel] + (taps[0].skipped * KW + taps[1].skipped) * C}
                self.emit(Op.DEPTHWISE_DW, name, x=self.place(x), z=dy, sums=sums, taps=taps)
                self.later.append(Instruction(Op.SUMS_END, name, Mode.SPREAD, x=self.place(x), sums=sums, taps=taps,
                                              fields=steps))
            flipped = (taps[0].flipped(), taps[1].flipped())
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.DEPTHWISE, name, x=dy, y=target, taps=flipped,
                weights=self.pack_depthwise(kernel, taps, flip=True))))

        self.tape.append(backward)

    def taps(self, node: Node, kernel: tuple[int, ...]) -> tuple[Taps, Taps]:
        attrs, size = node.attrs, (kernel[0], kernel[1])
        return taps_of(size, attrs["pads"], attrs["dilation"], self.shapes[self.place(node.inputs[0])][:2])

    def kernel_gradient(self, name: str, kernel: str, x: str, dy: str, taps: tuple[Taps, Taps], first: int = 0,
                        channels: int | None = None) -> None:
        _, KW, C, F = self.graph.weights[kernel].shape
        channels = C - first if channels is None else channels
        seen = taps[0].number * taps[1].number
        if seen * channels:
            start = self.offsets[kernel] + ((taps[0].skipped * KW + taps[1].skipped) * C + first) * F
            fields = {Field.PARAM: start, Field.STEP_A: KW * C * F, Field.STEP_B: C * F}
            tall, wide = even(channels) * padded(F), even(F) * padded(channels)
            transposed = (wide, -padded(channels)) < (tall, -padded(F))  # whichever wastes less, and has more lanes
            rows, row_step, lanes, lane_step = (F, 1, channels, F) if transposed else (channels, F, F, 1)
            fields |= {Field.CHANNELS: rows, Field.STEP_R: row_step, Field.SIZE: lanes, Field.STEP_C: lane_step,
                       Field.VECTORS: padded(lanes) // LANES, Field.TAPS: seen * even(rows),
                       Field.FLAGS: Flag.TRANSPOSED if transposed else 0}
            x = self.place(x)
            own: dict[str, Any] = {"x": x, "z": dy, "taps": taps, "fields": fields}
            if self.sums_by_chunk(x, dy, seen * even(channels)):
                own["sums"] = self.add_sums(f"d {kernel} from {first}/sums", seen * min(tall, wide))
                self.emit(Op.CONV_DW, name, **own)
                self.later.append(Instruction(Op.CONV_DW_END, name, Mode.SPREAD, **own))
            else:
                self.later.append(Instruction(Op.CONV_DW, name, Mode.TILES, **own))

    def sums_by_chunk(self, x: str, z: str, count: int) -> bool:
        """Whether a kernel's gradient is summed in the group that makes z, while z is in cache, a sum a chunk: where a
        sample's chunks take little memory beside its x and z."""
        (H, W, C), F = self.shapes[x], self.shapes[z][2]
        chunks = chunks_of(H, self.batch)[0]
        return 8 * chunks * count * padded(F) <= H * W * (padded(C) + padded(F)) and W >= SHORT

    def bias_gradient(self, name: str, bias: str, dy: str) -> None:
        sums = self.add_sums(f"d {bias}/sums", padded(self.shapes[dy][2]))
        self.emit(Op.BIAS_SUMS, name, x=dy, sums=sums)
        self.later.append(Instruction(Op.SUMS_END, name, Mode.SPREAD, x=dy, sums=sums,
                                      fields={Field.PARAM: self.offsets[bias]}))

    def pass_back(self, name: str, kernel: str, x: str, dy: str, taps: tuple[Taps, Taps], first: int = 0,
                  channels: int | None = None) -> None:
        """The input's gradient: a convolution with the flipped kernel, inputs and filters exchanged."""
        if x == self.graph.input:
            return
        flipped = (taps[0].flipped(), taps[1].flipped())
        weights = self.pack(kernel, taps, first, channels, transpose=True)
        self.contribute(x, Part(adds=True, emit=lambda target, adding: self.emit(
            Op.CONV, name, x=dy, y=target, taps=flipped, weights=weights,
            fields={Field.FLAGS: Flag.CONTINUE if adding else 0})))
