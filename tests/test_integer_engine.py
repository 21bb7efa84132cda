"""Integer networks in the engine: 0 differences to the operators' definition."""

import dataclasses

import numpy as np
import pytest
from integer_judges import CASES, SCHEMES, STORED, calibration, float_model, integers, manifest
from random_integers import random_network
from test_data import ROOT

import npunet
from npunet import IntegerModel, quantize
from npunet.integer import resize, run

pytest.importorskip("numba")

from npunet.engine.integer.engine import IntegerEngine
from npunet.engine.integer.plan.program import compile_integer_program

NETWORKS = 300  # random ones; every third also by three threads and in line buffers
FIELD = ROOT / "heartkit" / "ecg_segmentation_int8.tflite"


def assert_the_definition(network, x, told="", **planned):
    """The engine's integers are the definition's; returns them. planned : how, for compile_integer_program."""
    engine = IntegerEngine(network, planned.get("threads", 1))
    if planned:
        engine.program = compile_integer_program(network, bytes=engine.native.bytes, **planned)
    expected = run.infer(network, x)
    together = engine.program.threads > 1  # threads share a sample where these are fewer
    got = np.concatenate([engine(x[n : n + 1]) for n in range(len(x))]) if together else engine(x)
    got = got.reshape(expected.shape)
    assert got.dtype == expected.dtype
    off = np.argwhere(got != expected)
    if len(off):
        at = tuple(off[0].tolist())
        raise AssertionError(f"{told}{list(at)}: got {got[at]}, expected {expected[at]}; {len(off):,} of {got.size:,}")
    return got


@pytest.mark.parametrize("rounding", ["D", "S"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_networks_calibrated_here(scheme, rounding, rng):
    for name in CASES:
        model = quantize(float_model(name), calibration(name), scheme=scheme, rounding=rounding)
        network, x = model.network, integers(model, 3, rng)
        x = x.reshape(len(x), *network.tensors[network.input].shape)
        for planned in ({}, {"threads": 3}, {"fuse": False, "in_place": False}, {"large": 1, "near": 2000}):
            assert_the_definition(network, x, f"{name} {planned}", **planned)


def test_networks_that_tensorflow_converted(rng):
    for file in sorted(manifest()):
        model = npunet.load(STORED / "integer" / file)
        x = integers(model, 2, rng)
        assert_the_definition(model.network, x.reshape(len(x), *model.network.tensors[model.network.input].shape), file)


@pytest.mark.skipif(not FIELD.is_file(), reason=f"heartkit's model is not at {FIELD}")
def test_a_trained_network_from_the_field(rng):
    model = npunet.load(FIELD)
    assert_the_definition(model.network, integers(model, 5, rng))


def test_random_networks():
    """Among them strides, VALID, depth multipliers, means, several inputs to a concat, left shifts, wide sums."""
    seen, spread = set(), []
    for seed in range(NETWORKS):
        network, x = random_network(seed)
        seen |= {node.op for node in network}
        got = assert_the_definition(network, x, f"seed {seed} {[node.op for node in network]} ")
        spread.append(len(np.unique(got)) > 8)
        if seed % 3 == 0:
            assert_the_definition(network, x, f"seed {seed}, in turns ", threads=3, large=1, near=100)
            assert_the_definition(network, x, f"seed {seed}, plain ", fuse=False, in_place=False)
    assert len(seen) == 13, seen
    assert np.mean(spread) > 0.7, "outputs vary"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [(16,), (112,), (1008,)])
def test_awkward_sizes_and_batches(scheme, size, rng):
    model = quantize(float_model("d1_ecg_small"), calibration("d1_ecg_small"), scheme=scheme)
    network = resize.resized(model.network, (1, *size))
    low, high = network.tensors[network.input].limits
    for batch in (1, 2, 5):
        x = rng.integers(low, high + 1, (batch, *network.tensors[network.input].shape)).astype(model.dtype)
        assert_the_definition(network, x, threads=2)


def test_predict_takes_the_engine(rng):
    model = quantize(float_model("d2_strides_mixed"), calibration("d2_strides_mixed"))
    x = integers(model, 4, rng)
    expected = model.predict(x, backend="numpy")
    for options in ({}, {"backend": "engine"}, {"threads": 2}):
        np.testing.assert_array_equal(model.predict(x, **options), expected)
    assert model._engines.kept
    assert model.predict(x[:0], backend="engine").shape == (0, *model.output_shape)
    model.release()
    assert not model._engines.kept


def test_what_the_kernels_cannot_do_runs_in_numpy(rng):
    model = quantize(float_model("d1_ecg_small"), calibration("d1_ecg_small"))
    first = model.network.nodes[0]
    odd = dataclasses.replace(first, attrs={**first.attrs, "input_offset": first.attrs["input_offset"] + 1})
    changed = IntegerModel(dataclasses.replace(model.network, nodes=(odd, *model.network.nodes[1:])))
    x = integers(changed, 2, rng)
    np.testing.assert_array_equal(changed.predict(x), changed.predict(x, backend="numpy"))
    with pytest.raises(ValueError, match=f"{first.name}: the integer engine takes offsets that are its tensors'"):
        changed.predict(x, backend="engine")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sessions(scheme, rng):
    model = quantize(float_model("d1_ecg_small"), calibration("d1_ecg_small"), scheme=scheme)
    low, high = model.network.tensors[model.network.input].limits
    for batch, length, threads in ((1, 16, 1), (3, 112, 2)):
        session = model.compile((length, model.input_shape[-1]), batch=batch, threads=threads)
        assert session.input.dtype == session.output.dtype == model.dtype
        for _ in range(2):
            x = rng.integers(low, high + 1, session.input.shape).astype(model.dtype)
            np.testing.assert_array_equal(session(x), model.predict(x, backend="numpy"))
    session.input[...] = x[::-1]
    np.testing.assert_array_equal(session(), model.predict(x[::-1], backend="numpy"))
    for wrong, way in ((lambda: session(x.astype(float)), "quantize_input"), (lambda: session(x[:1]), "has shape"),
                       (lambda: model.compile((17, model.input_shape[-1])), "not a multiple"),
                       (lambda: model.compile((None, 1)), "a session is for one size"),
                       (lambda: model.compile(batch=0), "batch=0 must be at least 1")):
        with pytest.raises(ValueError, match=way):
            wrong()


@pytest.mark.parametrize("backend", ["numpy", "engine"])
def test_streams(backend, rng):
    """Piece by piece the integers of the whole signal, which ends in what stands for 0."""
    model = quantize(float_model("d1_ecg_small"), calibration("d1_ecg_small"))
    stream, zero = model.stream(backend=backend), model.input_qparams[1]
    for length in (1000, 5):
        x = rng.integers(-128, 128, (length, model.input_shape[-1])).astype(np.int8)
        pieces, start = [], 0
        while start < length:
            step = int(rng.integers(1, 200))
            pieces.append(stream.push(x[start : start + step]))
            start += step
        pieces.append(stream.flush())
        padded = np.concatenate([x, np.full((-length % stream.period, x.shape[1]), zero, np.int8)])
        expected = model.predict(padded[None], backend="numpy")[0, :length]
        np.testing.assert_array_equal(np.concatenate(pieces), expected)
    labels = model.stream("labels", backend=backend)
    np.testing.assert_array_equal(np.concatenate([labels.push(x), labels.flush()]), expected.argmax(-1))
    with pytest.raises(ValueError, match="quantize_input"):
        stream.push(x.astype(np.float32))


def test_streams_are_of_signals(rng):
    image = quantize(float_model("d2_plain"), calibration("d2_plain"))
    with pytest.raises(ValueError, match="the network takes images"):
        image.stream()
    bound = quantize(float_model("d1_layer_norm"), calibration("d1_layer_norm"))
    with pytest.raises(ValueError, match="binds the network to the size"):
        bound.stream()


def test_the_program_and_warmup_verbs(tmp_path, capsys):
    import json

    from npunet import cli

    model = quantize(float_model("d1_ecg_small"), calibration("d1_ecg_small"))
    model.save(tmp_path / "m.npz")
    assert cli.main(["program", str(tmp_path / "m.npz")]) == 0
    out = capsys.readouterr().out
    assert "separable" in out and "arena on one thread" in out
    assert cli.main(["program", str(tmp_path / "m.npz"), "--json", "--threads", "2", "--input-shape", "112,1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threads"] == 2 and told["totals"]["input"] == 112 and told["totals"]["macs"] > 0
    assert cli.main(["program", str(tmp_path / "m.npz"), "--arithmetic", "seq"]) == 2
    assert "integers come out the same" in capsys.readouterr().err
    assert cli.main(["warmup", "--for", "integer"]) == 0
    assert "integer networks in " in capsys.readouterr().out
