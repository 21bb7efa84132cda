"""The arithmetic "winograd" in the engine: the bits of ops.winograd, however an image is cut and shared."""

import numpy as np
import pytest
from engine_cases import any_size, assert_same_bits, batch_for, definition, engine_for, small, tiled

from npunet import UNet, run
from npunet.deploy import deploy
from npunet.engine.plan import report
from npunet.engine.plan.opcodes import Field, Flag, Op
from npunet.engine.plan.program import compile_program
from npunet.engine.plan.winograd_blocking import block_tiles
from npunet.engine.runtime import engine as runtime
from npunet.graph import Graph, Node, WeightSpec
from npunet.summary import rows
from npunet.weights import WeightStore

pytest.importorskip("numba")


@pytest.fixture
def every_thread_works(monkeypatch):
    """Threads share whatever there is, however small."""
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)


def tiled_steps(program):
    return [step for step in program.instructions if step.op == Op.WINOGRAD]


def strided(filters=(12, 16), **options):
    """Two blocks with an upsampled concat, whose 1x1 convolution is continued over the skip."""
    blocks = [{"filters": count, "depth": 2, "pool": 2, "strides": 2} for count in filters]
    return UNet({"blocks": blocks, "output_kernel_size": 3, **options}, (12, 20, 9), 8)


@pytest.mark.parametrize("size", [(4, 4), (6, 9), (9, 6), (13, 18), (4, 43), (30, 6), (2, 8), (5, 5), (1, 30)])
def test_every_cut_of_an_image(size, rng, every_thread_works):
    model = tiled()
    x = batch_for(model, rng, 2, size)
    expected = definition(model, x, "winograd")
    for threads in (1, 2, 3):
        engine, images = engine_for(model, x, "winograd", threads)
        assert len(tiled_steps(engine.program)) == (0 if size in ((5, 5), (1, 30)) else 12)
        assert_same_bits(engine(images), expected, f"{size}, {threads} threads")
        assert_same_bits(engine(images[:1]), expected[:1], f"{size}, {threads} threads, one image")


@pytest.mark.parametrize("filters", [8, 15, 24, 33])
def test_channel_counts(filters, rng):
    model = UNet({"blocks": [{"filters": filters, "depth": 2}]}, (6, 13, filters), filters)
    x = batch_for(model, rng, 1)
    engine, images = engine_for(model, x, "winograd")
    assert_same_bits(engine(images), definition(model, x, "winograd"), f"{filters} filters")


def test_more_tiles_than_a_strip_and_a_band(rng, every_thread_works):
    model = strided((8, 9))
    x = batch_for(model, rng, 1, (24, 136))
    expected = definition(model, x, "winograd")
    for threads in (1, 2, 3):
        engine, images = engine_for(model, x, "winograd", threads)
        first = next(row for row in engine.program.table if row[Field.OP] == Op.WINOGRAD and row[Field.GROUP] > 1)
        assert first[Field.TILES] == block_tiles(8) < 6 * 34 and first[Field.ROW_BLOCK] < 24
        assert_same_bits(engine(images), expected, f"{threads} threads")


@pytest.mark.parametrize("make", [tiled, strided])
def test_fusion_and_in_place_change_no_bit(make, rng):
    model = make()
    x = batch_for(model, rng)
    engine, images = engine_for(model, x, "winograd")
    expected = engine(images)
    assert_same_bits(expected, definition(model, x, "winograd"))
    for fuse, in_place in ((True, False), (False, True), (False, False)):
        engine.program = compile_program(model.graph, model.weights, fuse=fuse, in_place=in_place,
                                         arithmetic="winograd")
        engine.idle.clear()
        assert_same_bits(engine(images), expected, f"fuse={fuse}, in_place={in_place}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 1e-40, 3e38])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values(value, rng):
    """One of them in the middle of an image, and a whole image of them."""
    model = tiled()
    x = batch_for(model, rng, 2, (6, 9))
    x[0, 3, 4, 1] = value
    x[1] = value
    engine, images = engine_for(model, x, "winograd")
    assert_same_bits(engine(images), definition(model, x, "winograd"), f"{value}")


def test_a_residual_is_added_last(rng, every_thread_works):
    """In place or not; the blocks of a U-Net add behind a 1x1 convolution, so this graph is drawn by hand."""
    same, unit = {"pads": ((1, 1), (1, 1)), "stride": (1, 1), "dilation": (1, 1)}, (7, 10, 9)
    nodes = (Node("first", "conv2d", ("input",), ("first/kernel",), same, unit),
             Node("second", "conv2d", ("first",), ("second/kernel", "second/bias"), same, unit),
             Node("sum", "add", ("first", "second"), (), {}, unit))
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in
               (("first/kernel", (3, 3, 9, 9)), ("second/kernel", (3, 3, 9, 9)), ("second/bias", (9,)))}
    specs = {name: WeightSpec(name, value.shape, "zeros") for name, value in weights.items()}
    graph = Graph("input", unit, nodes, specs, "sum")
    x = rng.standard_normal((2, *unit)).astype(np.float32)
    for threads in (1, 2):
        engine = runtime.Engine(graph, WeightStore(weights, np.dtype("float32")), "winograd", threads)
        assert [step.flags & Flag.ADD > 0 for step in tiled_steps(engine.program)] == [False, True]
        assert_same_bits(engine(x), run.infer(graph, weights, x, arithmetic="winograd"), f"{threads} threads")


def test_what_it_is_not_for_is_as_in_seq_fma(rng):
    for model in (small(), any_size()):
        x = batch_for(model, rng)
        assert_same_bits(model.predict(x, arithmetic="winograd"), model.predict(x, arithmetic="seq_fma"))
    model = strided()
    x = batch_for(model, rng)
    assert not np.array_equal(model.predict(x, arithmetic="winograd"), model.predict(x, arithmetic="seq_fma"))


def test_predict_and_sessions_take_it(rng):
    model = strided()
    x = batch_for(model, rng)
    expected = model.predict(x, backend="numpy", arithmetic="winograd")
    assert_same_bits(model.predict(x, arithmetic="winograd"), expected)
    assert_same_bits(model.compile(batch=2, arithmetic="winograd")(x), expected)
    double = UNet(model.params, model.input_shape, model.num_classes, dtype="float64")
    with pytest.raises(ValueError, match="arithmetic='winograd' is for float32, the model is float64"):
        double.predict(x, arithmetic="winograd")


def test_it_lies_as_near_to_float64_as_a_clamped_network_lets_it(rng):
    """Both arithmetics against float64; the bound of each layer is tested with ops.winograd."""
    model = strided((32, 48))
    x = batch_for(model, rng)
    wide = UNet(model.params, model.input_shape, model.num_classes, dtype="float64").load_weights(dict(model.weights))
    exact = wide.predict(x)
    errors = {name: np.sqrt(np.mean((model.predict(x, arithmetic=name) - exact) ** 2)) / np.sqrt(np.mean(exact**2))
              for name in ("seq_fma", "winograd")}
    print(errors)
    assert errors["seq_fma"] < errors["winograd"] < 2e-6


def test_the_program_tells_products_done():
    model = strided()
    direct = report.totals(compile_program(model.graph, model.weights))
    program = compile_program(model.graph, model.weights, arithmetic="winograd")
    told, totals = report.instructions(program), report.totals(program)
    assert totals["macs"] == direct["macs"] == direct["done"] > totals["done"] == sum(row.done for row in told)
    row = next(row for row in told if row.op == "winograd")
    assert row.weights[0] == (3, 3, 9, 12) and row.writes[0].shape == (12, 20, 12)
    assert row.macs == 12 * 20 * 9 * 9 * 12 and row.done == 3 * 5 * 36 * 9 * 12
    layers = {row.name: row.macs for row in rows(deploy(model.graph, model.weights)[0])}
    assert all(row.macs == layers[row.layer] for row in told if row.op == "winograd")
