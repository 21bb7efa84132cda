"""What every part of the lowering shares: instructions and tensors as they come, gradients gathered, weights packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from npunet.engine.plan.refusals import TRAINING
from npunet.engine.plan.taps import POINT, Taps
from npunet.engine.target import LANES
from npunet.engine.training.plan.instructions import Instruction, Part, padded
from npunet.engine.training.plan.step_opcodes import Field, Flag, Mode, Op
from npunet.graph import Graph, Node, Shape


@dataclass
class Emitter:
    """Collects the instructions of one pass over a graph as trained.

    offsets : where each weight stands in the flat block;  loss : a kind of opcodes;  threads : at most
    instructions, shapes (tensor -> (H, W, C)), regions (name -> elements, float32), sums (name -> float64 a chunk) :
        what a program is made of
    """

    graph: Graph
    offsets: dict[str, int]
    batch: int
    loss: int
    threads: int
    instructions: list[Instruction] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    regions: dict[str, int] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    packs: list[Instruction] = field(default_factory=list)
    later: list[Instruction] = field(default_factory=list)
    tape: list[Callable[[], None]] = field(default_factory=list)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    gradients: dict[str, str] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)
    readers: Mapping[str, Sequence[Node]] = field(default_factory=dict)
    logits: str = ""

    def emit(self, op: Op, layer: str, **names: Any) -> Instruction:
        instruction = Instruction(op, layer, **names)
        self.instructions.append(instruction)
        return instruction

    def end(self, op: Op, layer: str, **names: Any) -> None:
        """An instruction that needs all chunks: whatever waited for such a moment goes first."""
        self.flush()
        self.emit(op, layer, mode=Mode.SPREAD, **names)

    def flush(self) -> None:
        self.instructions += sorted(self.later, key=lambda instruction: instruction.mode)
        self.later.clear()

    def new(self, name: str, shape: Shape) -> str:
        self.shapes[name] = shape
        return name

    def place(self, name: str) -> str:
        """The tensor in whose memory `name` lives."""
        return self.home.get(name, name)

    def only_reader(self, name: str) -> Node | None:
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in (self.logits, self.graph.output) else None

    def contribute(self, name: str, part: Part) -> None:
        if name != self.graph.input:
            self.parts.setdefault(name, []).append(part)

    def gradient(self, name: str) -> str:
        """The tensor that holds dLoss / d name, computed now if it has not been."""
        if name not in self.gradients:
            parts = sorted(self.parts.pop(name, []), key=lambda part: part.adds)
            if len(parts) == 1 and parts[0].alias:
                self.gradients[name] = parts[0].alias
            elif not parts or parts[0].alias or not all(part.adds for part in parts[1:]):
                TRAINING.refuse(name, "has no way to add up the gradients of its readers")
            else:
                target = self.new(f"d {name}", self.shapes[self.place(name)])
                for number, part in enumerate(parts):
                    assert part.emit is not None  # it has no alias
                    part.emit(target, number > 0)
                self.gradients[name] = target
        return self.gradients[name]

    def add_sums(self, name: str, size: int) -> str:
        self.sums[name] = size
        return name

    # weights in the kernels' order

    def pack(self, kernel: str, taps: tuple[Taps, Taps], first: int = 0, channels: int | None = None,
             transpose: bool = False) -> str:
        _, KW, C, F = self.graph.weights[kernel].shape
        channels = C - first if channels is None else channels
        a, b = KW * C * F, C * F
        start = self.offsets[kernel] + taps[0].skipped * a + taps[1].skipped * b + first * F
        rows, columns, r, c = channels, F, F, 1
        if transpose:
            start += (taps[0].number - 1) * a + (taps[1].number - 1) * b
            rows, columns, r, c, a, b = F, channels, 1, F, -a, -b
        name = f"{kernel} from {first}{' transposed' * transpose}"
        return self.add_pack(name, start, taps, rows, columns, (a, b, r, c), 0)

    def pack_depthwise(self, kernel: str, taps: tuple[Taps, Taps], flip: bool) -> str:
        _, KW, C, _ = self.graph.weights[kernel].shape
        a, b = KW * C, C
        start = self.offsets[kernel] + taps[0].skipped * a + taps[1].skipped * b
        if flip:
            start += (taps[0].number - 1) * a + (taps[1].number - 1) * b
            a, b = -a, -b
        return self.add_pack(f"{kernel}{' flipped' * flip}", start, taps, 1, C, (a, b, 0, 1), Flag.WHOLE)

    def pack_bias(self, bias: str) -> str:
        (size,) = self.graph.weights[bias].shape
        return self.add_pack(bias, self.offsets[bias], (POINT, POINT), 1, size, (0, 0, 0, 1), Flag.WHOLE)

    def add_pack(self, name: str, start: int, taps: tuple[Taps, Taps], rows: int, columns: int,
                 steps: tuple[int, int, int, int], flags: int) -> str:
        self.regions[name] = taps[0].number * taps[1].number * rows * padded(columns)
        fields = {Field.PARAM: start, Field.CHANNELS: rows, Field.SIZE: columns,
                  Field.VECTORS: padded(columns) // LANES, Field.FLAGS: flags}
        fields |= dict(zip((Field.STEP_A, Field.STEP_B, Field.STEP_R, Field.STEP_C), steps, strict=True))
        self.packs.append(Instruction(Op.PACK, name, Mode.SPREAD, weights=name, taps=taps, fields=fields))
        return name
