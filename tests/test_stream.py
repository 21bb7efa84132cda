"""A signal in pieces gives the bits of the whole signal, as early as the receptive field allows."""

import numpy as np
import pytest
from engine_cases import assert_same_bits, small, strided
from test_reference import NAMES, model_of, stored

from npunet import UNet
from npunet.inference import receptive

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
SIGNALS = [name for name in NAMES if name.startswith("d1_") and name != "d1_layer_norm"]


def pieces_of(x, sizes):
    """The signal in pieces of these sizes, over and over."""
    start, turn = 0, 0
    while start < len(x):
        size = sizes[turn % len(sizes)]
        yield x[start : start + size]
        start, turn = start + size, turn + 1


def streamed(stream, x, sizes):
    """Every output of a signal that comes in pieces of these sizes."""
    return np.concatenate([*(stream.push(piece) for piece in pieces_of(x, sizes)), stream.flush()])


@pytest.mark.parametrize("name", SIGNALS)
def test_stored_configurations(name, rng):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    stream = model.stream()
    # some shorter than a window, one that ends in the middle of a period, one longer than the long windows
    for length in (1, 7, stream.period, 3 * stream.period, 250, 1501):
        x = rng.standard_normal((length, case["input_shape"][-1])).astype(np.float32)
        expected = model.predict(x[None], arithmetic="seq_fma", pad=True)[0]
        for sizes in ([length], [1, 0, 33], [13]):
            assert_same_bits(streamed(stream, x, sizes), expected, f"{name}, {length} in pieces of {sizes}")


@pytest.mark.parametrize("name", SIGNALS)
def test_outputs_come_as_early_as_they_can(name, rng):
    """Sample by sample: each output comes with the last sample that it depends on."""
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    stream = model.stream()
    context = receptive.context(model.graph, 1, stream.period)
    given, most = 0, 0
    for received in range(1, 4 * stream.period + 2 * stream.delay):
        given += len(stream.push(np.zeros((1, case["input_shape"][-1]))))
        due = [o for o in range(received) if o + context.after[o % stream.period] < received]
        assert given == len(due)
        most = max(most, received - given)
    assert most == stream.delay


def test_one_sample_at_a_time_equals_the_whole(rng):
    model = small()
    x = rng.standard_normal((150, 2)).astype(np.float32)
    assert_same_bits(streamed(model.stream(), x, [1]), model.predict(x[None], pad=True)[0])


@pytest.mark.parametrize(("how", "dtype"), [
    ({"backend": "numpy"}, "float32"), ({"backend": "numpy", "arithmetic": "seq"}, "float32"),
    ({"arithmetic": "seq", "threads": 2}, "float32"), ({}, "float64"),
])
def test_backends_and_arithmetics(how, dtype, rng):
    model = small(dtype=dtype)
    x = rng.standard_normal((131, 2)).astype(dtype)
    arithmetic = how.get("arithmetic", "seq_fma" if dtype == "float32" else "seq")
    expected = model.predict(x[None], arithmetic=arithmetic, pad=True)[0]
    got = streamed(model.stream(**how), x, [40, 3])
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


def test_labels(rng):
    model = small()
    x = rng.standard_normal((90, 2)).astype(np.float32)
    labels = streamed(model.stream("labels"), x, [11])
    assert labels.shape == (90,)
    assert np.array_equal(labels, model.predict(x[None], pad=True)[0].argmax(-1))
    assert model.stream("labels").push(x[:1]).shape == (0,)


def test_a_stream_begins_anew_after_flush(rng):
    model = small()
    stream, x = model.stream(), rng.standard_normal((61, 2)).astype(np.float32)
    first = streamed(stream, x, [20])
    assert stream.flush().shape == (0, 3)
    assert_same_bits(streamed(stream, x, [61]), first)


def test_holds_no_more_than_a_window(rng):
    stream = small().stream()
    for _ in range(50):
        stream.push(rng.standard_normal((100, 2)))
    assert len(stream._held) < stream.context.size + 2 * stream.period


def test_is_a_snapshot_of_the_weights(rng):
    model = small()
    stream, x = model.stream(), rng.standard_normal((48, 2)).astype(np.float32)
    expected = model.predict(x[None])[0]
    model.weights["NECK_conv/bias"][...] += 1
    assert_same_bits(streamed(stream, x, [9]), expected)


def test_a_gap_stays_where_it_is(rng):
    """NaN reaches the outputs that depend on it, and no other."""
    model = small()
    x = rng.standard_normal((200, 2)).astype(np.float32)
    x[100] = np.nan
    expected = model.predict(x[None], pad=True)[0]
    assert_same_bits(streamed(model.stream(), x, [7]), expected)
    context, period = model.stream().context, model.stream().period
    near = [o for o in range(200) if o - context.before[o % period] <= 100 <= o + context.after[o % period]]
    assert list(np.flatnonzero(np.isnan(expected).any(-1))) == near


def test_one_channel_takes_plain_samples(rng):
    model = UNet({"blocks": [], "output_kernel_size": (1, 4)}, (None, 1), 2)
    x = rng.standard_normal(30).astype(np.float32)
    assert_same_bits(streamed(model.stream(), x, [8]), model.predict(x[None, :, None])[0])


def test_refuses():
    with pytest.raises(ValueError, match="a stream is a signal"):
        strided().stream()
    case, arrays = stored("d1_layer_norm")
    with pytest.raises(ValueError, match=r"block 1 \(ENC1\): norm='layer'"):
        model_of(case, arrays, "float32").stream()
    with pytest.raises(ValueError, match="output='masks' must be one of logits, labels"):
        small().stream("masks")
    with pytest.raises(ValueError, match="arithmetic='any' gives bits that depend"):
        small().stream(backend="numpy", arithmetic="any")
    for samples, told in ((np.zeros((4, 3)), r"shape \(4, 3\)"), (np.zeros(4), r"shape \(4,\)"),
                          (np.zeros((4, 2), complex), "dtype complex128")):
        with pytest.raises(ValueError, match=told):
            small().stream().push(samples)
