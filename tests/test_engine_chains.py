"""Groups that take turns on bands of rows, with line buffers between them: every bit of the definition, less memory."""

import numpy as np
import pytest
from engine_cases import (
    ARITHMETICS,
    any_size,
    assert_same_bits,
    batch_for,
    definition,
    engine_for,
    shaken,
    strided,
    tiled,
)
from test_reference import NAMES, model_of, stored

from npunet import UNet
from npunet.engine.plan import report
from npunet.engine.plan.opcodes import Alone, Field, Op
from npunet.engine.plan.program import compile_program
from npunet.engine.runtime import runner

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
ROW_BY_ROW, SOME_ROWS = 1, 900  # elements of the rows of a turn: one row each; several of small images


@pytest.fixture(autouse=True)
def every_thread_works(monkeypatch):
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)


def deep(seed=0):
    """A 2-D network like the presets: pooling by strides, upsampling inside of convolutions, residual blocks."""
    block = {"depth": 2, "ddepth": 1, "kernel": 3, "pool": 2, "strides": 2}
    blocks = [{"filters": 5, "seperable": True, **block}, {"filters": 10, "dilation": 2, **block, "strides": (3, 1)}]
    return shaken(UNet({"blocks": blocks, "output_kernel_size": 3}, (48, 20, 1), 3, seed=seed), seed)


def chained(model, x, arithmetic="seq_fma", threads=1, near=SOME_ROWS):
    """(engine, images): with turns for every chain there is, and an arena full of NaN."""
    engine, images = engine_for(model, x, arithmetic, threads)
    engine.program = compile_program(model.sizes.graph(images.shape[1:3]), model.weights, threads=threads,
                                     arithmetic=arithmetic, large=0, near=near)
    engine.idle.clear()
    call = engine.take_call()
    call.arguments[runner.MEMORY][:] = np.nan
    engine.idle.append(call)
    return engine, images


@pytest.mark.parametrize("near", [ROW_BY_ROW, SOME_ROWS])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", NAMES)
def test_stored_configurations(name, arithmetic, near):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    x = arrays["x"].astype(np.float32)
    expected = definition(model, x, arithmetic)
    for threads in (1, 2):
        engine, images = chained(model, x, arithmetic, threads, near)
        for count in (1, 2):
            got = model.sizes.release(engine(images[:count]), None)
            assert_same_bits(got, expected[:count], f"{name}, {threads} threads, batch {count}")


@pytest.mark.parametrize("near", [ROW_BY_ROW, SOME_ROWS, 10 * SOME_ROWS])
@pytest.mark.parametrize("make", [any_size, tiled])
def test_every_height(make, near, rng):
    model = make()
    for height in [*range(1, 34), 67]:
        x = batch_for(model, rng, 1, (height, 1 + height % 7))
        engine, images = chained(model, x, "winograd", 1 + height % 3, near)
        assert_same_bits(engine(images), definition(model, x, "winograd"), f"height {height}")


@pytest.mark.parametrize("near", [ROW_BY_ROW, SOME_ROWS])
@pytest.mark.parametrize(("make", "size"), [(strided, (6, 3)), (strided, (34, 9)), (strided, (98, 15)),
                                            (deep, (12, 14)), (deep, (60, 26)), (deep, (150, 10)), (deep, (366, 8))])
def test_strided_sizes(make, size, near, rng):
    model = make()
    x = batch_for(model, rng, 2, size)
    expected = definition(model, x, "seq_fma")
    for threads in (1, 2, 3, 5):
        engine, images = chained(model, x, "seq_fma", threads, near)
        assert_same_bits(engine(images), expected, f"{size}, {threads} threads")
        assert_same_bits(engine(images[:1]), expected[:1], f"{size}, {threads} threads, one image")


def test_turns_line_buffers_and_strips_are_there(rng):
    """That the other tests see what they are about: more rows than instructions, moves, less memory, threads apart."""
    model = deep()
    x = batch_for(model, rng, 1, (366, 10))
    engine, _ = chained(model, x, threads=2)
    graph = model.sizes.graph(x.shape[1:3])
    alone = compile_program(graph, model.weights, large=0, near=SOME_ROWS)
    whole = compile_program(graph, model.weights, large=1 << 60)
    assert len(alone.table) > 5 * len(alone.instructions) and len(whole.table) == len(whole.instructions)
    assert alone.buffers and (alone.table[:, Field.OP] == Op.MOVE).any()
    assert alone.arena.size < 0.8 * whole.arena.size
    for table in engine.program.shared:
        ways = table[:, Field.ALONE]
        assert (ways == Alone.GO_ON).any() and 1 <= (ways == Alone.WAIT).sum() <= len(alone.groups)
    rows = [int(table[:, Field.HEIGHT].sum()) for table in engine.program.shared]
    assert abs(rows[0] - rows[1]) < 0.1 * sum(rows)


def test_a_program_tells_of_them():
    """Turns, and the rows that line buffers hold: of a 3x3 kernel's input at least three and two for the next turn."""
    model = deep()
    graph = model.sizes.graph((366, 10))
    program = compile_program(graph, model.weights, large=0, near=ROW_BY_ROW)
    told = report.instructions(program)
    assert {row.op for row in told if row.blocks == 1} == {"copy_in", "copy_out"}
    assert max(row.blocks for row in told) == 366
    kept = {operand.tensor: operand.rows for row in told for operand in row.writes if operand.rows < operand.shape[0]}
    assert set(kept) == set(program.buffers) and min(kept.values()) >= 2
    assert all(operand.offset + 4 * operand.rows * operand.shape[1] * operand.shape[2] <= 4 * program.arena.size
               for row in told for operand in (*row.reads, *row.writes))
    text = report.text(program, {}, "deep")
    assert "blocks" in text and f"({next(iter(kept.values()))})" in text
    assert "blocks" not in report.text(compile_program(graph, model.weights), {}, "deep")


def test_signals_take_no_turns():
    block = {"filters": 8, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}
    model = UNet({"blocks": [block, block]}, (64, 1), 2)
    program = compile_program(model.sizes.graph((1, 1 << 20)), model.weights)
    assert len(program.table) == len(program.instructions) and not program.buffers


def test_large_images_take_turns_by_themselves():
    model = any_size()
    small, large = (compile_program(model.sizes.graph((size, size)), model.weights) for size in (32, 512))
    assert not small.buffers and len(small.table) == len(small.instructions)
    assert large.buffers and len(large.table) > len(large.instructions)
