"""Training tensors that are made again, and rings of rows: what the program says of them, row by row, and gradients."""

import numpy as np
import pytest

from npunet import UNet
from npunet.differentiate import differentiate
from npunet.engine.training.plan.step_groups import AROUND
from npunet.engine.training.plan.step_opcodes import CROSSENTROPY, Field, Mode, Op
from npunet.engine.training.plan.step_program import Rule, compile_step
from npunet.train.optimise import SGD

GRADIENTS = 5e-4  # as in test_engine_step
TENSORS = {"x": Field.X, "y": Field.Y, "z": Field.Z, "u": Field.U}


def tall(kernel=3, dilation=1, activation="relu6", height=48):
    """A 2-D network whose rows are many and whose taps reach around: rings are shorter than its images."""
    blocks = [{"filters": 9, "depth": 2, "ddepth": 1, "kernel": kernel, "pool": 2, "strides": 2, "seperable": True,
               "dilation": dilation, "activation": activation},
              {"filters": 17, "kernel": (3, 2), "pool": (3, 2), "strides": (2, 1), "seperable": True}]
    return UNet({"blocks": blocks, "output_kernel_size": 3}, (height, 6, 2), 3, seed=1)


CASES = {"kernel 3": tall(), "kernel 5": tall(5), "even kernel": tall(4), "dilated": tall(dilation=2),
         "bent": tall(activation="elu"), "few rows": tall(height=12)}


def program_of(model, batch=3, threads=1):
    offsets, size = {}, 0
    for name, spec in model.graph.weights.items():
        offsets[name], size = size, size + spec.size
    return compile_step(model.graph, offsets, batch, CROSSENTROPY, Rule(kind=0), threads)


def groups_of(program):
    """(head, members) of the groups that go row by row."""
    number, table = 0, program.tables[0]
    while number < len(table):
        members = int(table[number, Field.GROUP])
        if table[number, Field.MODE] == Mode.ROWS:
            yield number, range(number, number + members)
        number += members


def put(slots, row, ring, mirrored):
    slots[row % ring] = row
    if row % ring < mirrored:
        slots[ring + row % ring] = row


@pytest.mark.parametrize("name", CASES)
def test_every_row_stands_where_its_readers_look(name):
    program = program_of(CASES[name])
    table, rings = program.tables[0], 0
    for head, members in groups_of(program):
        stands: dict[str, dict[int, int]] = {}  # tensor: slot of its ring -> row
        for moment in range(table[head, Field.ROWS] + table[head, Field.LAST_LAG]):
            for number in members:
                p, instruction = table[number], program.instructions[number]
                i = moment - p[Field.LAG]
                if not 0 <= i < table[head, Field.ROWS]:
                    continue
                for at in ("x", "z", "u"):
                    tensor, ring = getattr(instruction, at), p[TENSORS[at] + 4]
                    if not tensor or not ring:
                        continue
                    around = at == "x" and instruction.op in AROUND
                    first = i + (p[Field.FIRST_ROW] if around else 0)
                    last = i + instruction.taps[0].last if around and instruction.taps[0].number else first
                    for row in range(first, last + 1):
                        assert stands[tensor][first % ring + row - first] == row, (instruction.op.name, tensor, i, row)
                if instruction.y and p[Field.Y_RING]:
                    rings += 1
                    above = range(-p[Field.TOP], 0) if i == 0 else ()
                    below = range(p[Field.HEIGHT], p[Field.HEIGHT] + p[Field.BOTTOM])
                    for row in (*above, i, *(below if i == p[Field.HEIGHT] - 1 else ())):
                        put(stands.setdefault(instruction.y, {}), row, p[Field.Y_RING], p[Field.MIRRORED])
    assert rings > 0 or name == "few rows"


@pytest.mark.parametrize("name", CASES)
def test_what_is_cheap_is_kept_by_no_group(name):
    program = program_of(CASES[name])
    made, read = {}, {}
    for group, (_, members) in enumerate(groups_of(program)):
        for number in members:
            instruction = program.instructions[number]
            if instruction.op in (Op.NORMALISE, Op.DEPTHWISE):
                made.setdefault(instruction.y, set()).add(group)
            for tensor in {instruction.x, instruction.z, instruction.u} & set(made):
                read.setdefault(tensor, set()).add(group)
    forward = [name for name in made if not name.startswith("d ")]
    whole = {each.x for each in program.instructions if each.op == Op.CONV_DW and each.mode == Mode.TILES}
    assert any(" in group " in name for name in forward)
    for tensor in set(forward) - whole:
        assert len(made[tensor]) == 1 and read[tensor] == made[tensor], tensor


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_agree_with_the_definition(name, threads):
    pytest.importorskip("numba")
    from npunet.train.engine_step import EngineStep

    model, rng = CASES[name], np.random.default_rng(0)
    x = rng.standard_normal((3, *model.input_shape)).astype(np.float32)
    labels = rng.integers(0, 3, x.shape[:-1])
    step = EngineStep(model, SGD(), threads=threads)
    step.step(x, labels, 0.0, np.random.default_rng(0))
    expected = differentiate(model.graph.for_training(), dict(model.weights), x, labels,
                             loss="sparse_categorical_crossentropy", l2=True).dweights
    largest = max(np.abs(value).max() for value in expected.values())
    for weight, gradient in step.last_gradients().items():
        scale = max(np.abs(expected[weight]).max(), 1e-3 * largest)
        off = np.abs(gradient - expected[weight]).max()
        assert off <= GRADIENTS * scale, f"{weight}: off by {off:.2e} of {scale:.2e}"
