"""The cases that show a multiply-add that rounds twice: exact rationals say what each way of rounding gives."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from golden_cases import NAMES, stored

from npunet import presets
from npunet.golden import ties
from npunet.golden.cases import network_input
from npunet.golden.corners import layer_inputs
from npunet.golden.draws import Draws
from npunet.golden.layer_run import run_layer, run_network
from npunet.golden.subject import resolve
from npunet.ops import accumulate
from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.roundings import DIRECTED, ONCE_MORE, added

BITS = {"float32": 24, "double": 53, "extended": 64}


def rounded(exact, bits, how="even"):
    """A rational to a significand of so many bits, the exponent unlimited."""
    if exact == 0:
        return exact
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    while abs(exact) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent + 1 - bits)
    whole, rest = divmod(exact / step, 1)
    half = Fraction(1, 2)
    up = {"even": rest > half or (rest == half and whole % 2 == 1), "up": rest > 0, "down": False,
          "zero": rest > 0 and exact < 0, "away": rest > half or (rest == half and exact > 0)}[how]
    return (whole + up) * step


def expected(a, b, how):
    exact = Fraction(float(a)) + Fraction(float(b))
    if how in ONCE_MORE:
        return float(rounded(rounded(exact, BITS[how]), 24))
    return float(rounded(exact, 24, how))


@pytest.mark.parametrize("how", [*ONCE_MORE, *DIRECTED])
def test_sums_are_rounded_as_they_are_called(how):
    rng = np.random.default_rng(3)
    random = rng.normal(0, 1, (400, 3)).astype("f4") * 2.0 ** rng.integers(-30, 30, (400, 3))
    few_bits = rng.integers(-64, 64, (400, 3)) * 2.0 ** rng.integers(-26, 3, (400, 3))
    made = []
    for number in range(400):
        w1, w2 = rng.normal(0, 0.4, 2).astype("f4")
        found = ties.values_of_tie(w1, w2, 0.0, ties.KINDS[number % 3], 1 - number % 2 * 2)
        if found:
            made.append((found[1], w2, float(np.float32(found[0] * float(w1)))))
    assert len(made) > 350
    x, w, c = np.concatenate([random, few_bits, made]).astype("f4").astype("f8").T
    got = added(x * w, c, how)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [expected(p, a, how) for p, a in zip(x * w, c, strict=True)])


def test_what_is_not_finite_is_rounded_too():
    largest = np.float64(np.finfo("f4").max)
    a, b = np.array([np.inf, np.nan, largest, -largest, largest]), np.array([1.0, 1.0, 2.0**102, -(2.0**104), 2.0**103])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(added(a, b, "double"), (a + b).astype("f4"))
    np.testing.assert_array_equal(added(a, b, "zero"), [np.inf, np.nan, largest, -largest, largest])
    np.testing.assert_array_equal(added(a, b, "up"), [np.inf, np.nan, np.inf, -largest, np.inf])


@pytest.mark.parametrize("kind", ties.KINDS)
def test_a_tie_shows_its_kind_and_no_other(kind):
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(60):
        w1, w2, bias = (float(value) for value in rng.normal(0, 0.5, 3).astype("f4"))
        values = ties.values_of_tie(w1, w2, bias, kind)
        if values is None:
            continue
        found += 1
        assert all(float(np.float32(value)) == value for value in values)
        acc = float(rounded(Fraction(values[0]) * Fraction(w1), 24))
        exact = Fraction(values[1]) * Fraction(w2) + Fraction(acc)
        once = rounded(exact, 24)
        twice = {how: rounded(rounded(exact, BITS[how]), 24) for how in ONCE_MORE}
        assert (twice["double"] != once) == (kind != "exact") and (twice["extended"] != once) == (kind == "fine")
        if kind == "exact":
            assert rounded(exact, 24, "away") != once
            continue
        assert rounded(twice["double"] + Fraction(bias), 24) != rounded(once + Fraction(bias), 24)
    assert found > 50


@pytest.mark.parametrize("weight", [0.75, 3.0, -5 / 64, 2.0**-40 * 7])
def test_weights_of_few_bits_have_ties_too(weight):
    assert ties.values_of_tie(0.3, weight, 0.0, "fine") and ties.values_of_tie(0.3, weight, 0.0, "coarse")


def test_a_power_of_two_has_none():
    assert all(ties.values_of_tie(0.3, 0.25, 0.0, kind) is None for kind in ties.KINDS)


def test_pairs_stand_alone_in_their_windows():
    rng = np.random.default_rng(5)
    window = ties.Window(rng.normal(0, 1, (3, 2, 3, 4)).astype("f4"), False, (2, 3), (2, 1), None)
    image = ties.image_of_ties((17, 23, 3), window, Draws(1, "alone"))
    assert window.reach == (5, 4) and image.any()
    for row, column in ties._starts(image.shape, window):
        assert np.count_nonzero(image[row:row + 5, column:column + 4]) in (0, 2)
    assert np.count_nonzero(image) == 2 * min(ties.MOST, (17 // 5) * (23 // 4))


def twice(acc, xs, ws):
    """What accumulate._fused is where fmaf is newlib's."""
    for x, w in zip(xs.astype("f8"), ws.astype("f8"), strict=True):
        acc[...] = x * w + acc.astype("f8")
    return acc


def products(node, graph, weights):
    """The most products that one sum of a layer has: taps outside of the image are none."""
    kernel, shape = weights[node.weights[0]], graph.shape(node.inputs[0])
    live = prod(max(sum(0 <= at + k * step - before < extent for k in range(taps)) for at in range(extent))
                for taps, step, (before, _), extent in zip(kernel.shape, node.attrs["dilation"], node.attrs["pads"],
                                                           shape[:2], strict=False))
    return live * (kernel.shape[2] if node.op == "conv2d" else 1)


@pytest.mark.parametrize("name", [*NAMES, "tiny", "ecg"])
def test_every_layer_of_more_than_one_product_shows_it(name, monkeypatch):
    if name in presets.names():
        subject = resolve(name, "deploy", None, "auto", 1 << 22)
    else:
        subject, _ = stored(name)
    graph, weights = subject.graph, subject.weights
    cases = [(node, *layer_inputs(node, graph, weights, 4)) for node in graph if node.op in CONVOLUTIONS]
    right = [run_layer(node, inputs, weights, "seq_fma").out for node, _, inputs in cases]
    monkeypatch.setattr(accumulate, "_fused", twice)
    for (node, samples, inputs), want in zip(cases, right, strict=True):
        got = run_layer(node, inputs, weights, "seq_fma").out
        wrong = ~((got == want) | (np.isnan(got) & np.isnan(want)))
        assert any("ties" in sample.split() for sample in samples)
        assert wrong.any() == (products(node, graph, weights) > 1), (node.name, products(node, graph, weights))


@pytest.mark.parametrize("name", ["tiny", "ecg"])
def test_the_output_of_the_whole_network_shows_it(name, monkeypatch):
    subject = resolve(name, "deploy", None, "auto", 1 << 22)
    x = network_input("ties", subject.graph, subject.weights, 0)
    *_, right = run_network(subject.graph, subject.weights, x, "seq_fma")
    monkeypatch.setattr(accumulate, "_fused", twice)
    *_, got = run_network(subject.graph, subject.weights, x, "seq_fma")
    assert (got.out != right.out).any()
