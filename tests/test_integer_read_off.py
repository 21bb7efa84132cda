"""What is read off a port's integers: an order of the weights, a channel's multiplier, a part; nothing in noise."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from test_integer_formulas import a_node, evidence_of

from npunet.golden.integer.stages import stages
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import RARE
from npunet.verify.integer.multipliers import multipliers
from npunet.verify.integer.parts import Shown, part
from npunet.verify.integer.reordered import orders, reordered

WEIGHTS = np.random.default_rng(3).integers(-127, 128, (3, 5, 7, 4))
ORDERS = {
    "the input channels are exchanged in pairs": WEIGHTS[:, :, [1, 0, 3, 2, 5, 4, 6]],
    "the rows of taps are in reverse order": WEIGHTS[::-1],
    "its weights in another order: the filters are those of the other half": WEIGHTS[..., [2, 3, 0, 1]],
    "the columns of taps are 3 in the place of 1, 1 in the place of 3": WEIGHTS[:, [0, 3, 2, 1, 4]],
    "they are stored as F KH KW C and read as KH KW C F": WEIGHTS.transpose(3, 0, 1, 2).reshape(WEIGHTS.shape),
    "they are stored as KH KW C F and read as F KH KW C": WEIGHTS.reshape(4, 3, 5, 7).transpose(1, 2, 3, 0),
    "those of every 8 bytes are in reverse order": np.r_[
        WEIGHTS.ravel()[:416].reshape(-1, 8)[:, ::-1].ravel(), WEIGHTS.ravel()[416:]].reshape(WEIGHTS.shape),
}


@pytest.mark.parametrize("words", ORDERS)
def test_weights_in_another_order_are_told_as_that(words):
    assert words in reordered(WEIGHTS, ORDERS[words], False)


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_an_order_is_found_where_no_sums_are_shown(op):
    network, node = a_node("d2_separable_mixed", op, rounding="S", where=lambda node: node.arrays["weights"].size > 20)
    w, right = node.arrays["weights"], evidence_of(network, node)
    turned = np.ascontiguousarray(w.transpose(3, 2, 0, 1)).reshape(w.shape)
    given = replace(right, got=right.run(arrays={"weights": turned}))
    found = [words for words, apply in orders([given]) if np.array_equal(apply(given), given.got)]
    assert found and all("they are stored as" in words for words in found)


def test_weights_of_no_order_are_not_told_as_one(rng):
    assert reordered(WEIGHTS, rng.permutation(WEIGHTS.ravel()).reshape(WEIGHTS.shape), False) == ""
    few = WEIGHTS.copy()
    few[0, 0, :2, 0] = few[0, 0, 1::-1, 0]
    assert reordered(WEIGHTS, few, False) == ""


def with_factors(network, node, **changes):
    """What a port gives whose multipliers or shifts are others: changes of single channels, by array."""
    arrays = {key: node.arrays[key].copy() for key in changes}
    for key, values in changes.items():
        for channel, value in values.items():
            arrays[key][channel] = value
    right = evidence_of(network, node)
    return replace(right, got=right.run(arrays=arrays))


@pytest.mark.parametrize("scheme, rounding", [("int8", "D"), ("int8", "S"), ("int16x8", "D")])
def test_factors_of_channels_are_solved_for(scheme, rounding):
    """A multiplier with a wrong digit, one with another shift: what is told gives all of the output."""
    network, node = a_node("d1_ecg_small", "conv2d", scheme, rounding,
                           lambda node: len(node.arrays["bias"]) > 2 and (node.arrays["shift"] < 0).all())
    m, s = (node.arrays[key] for key in ("multiplier", "shift"))
    typed = int(f"{m[1]}"[0] + str((int(f"{m[1]}"[1]) + 3) % 10) + f"{m[1]}"[2:])
    given = with_factors(network, node, multiplier={1: typed, 2: 2**30 + 77}, shift={2: s[2] - 4})
    (words, apply), = multipliers([given])
    np.testing.assert_array_equal(apply(given), given.got)
    assert f"channel 1: another multiplier ({typed} instead of {m[1]}" in words
    assert f"another shift ({s[2] - 4} instead of {s[2]})" in words


@pytest.mark.parametrize("op, key, words", [
    ("leaky_relu", "negative_multiplier", "negative values: another multiplier"),
    ("add", "output_multiplier", "its sum: another multiplier"),
    ("add", "input2_multiplier", "its input 1: another multiplier")])
def test_factors_of_other_operators_are_solved_for(op, key, words):
    network, node = a_node("d1_softmax" if op == "leaky_relu" else "d1_ecg_small", op)
    right = evidence_of(network, node)
    made = replace(node, attrs={**node.attrs, key: node.attrs[key] - 100_000_000})
    shown = {"acc": stages(made, right.inputs, network).acc.astype(np.int64)} if op == "add" else {}
    given = replace(right, got=Evidence(made, network, right.inputs, right.got).right, shown=shown)
    (told, apply), = multipliers([given])
    np.testing.assert_array_equal(apply(given), given.got)
    assert words in told and f" instead of {node.attrs[key]}" in told and "another shift" not in told


def test_no_factor_is_solved_for_in_noise(rng):
    network, node = a_node("d1_ecg_small", "conv2d", where=lambda node: len(node.arrays["bias"]) > 2)
    right = evidence_of(network, node)
    noise = rng.integers(-128, 128, right.got.shape[:3])
    flips = right.got[..., 1] ^ (rng.random(noise.shape) < 0.1)
    for channel in (noise, flips):
        got = right.got.copy()
        got[..., 1] = channel
        assert not list(multipliers([replace(right, got=got)]))


def product(x, m):
    return (x * m + 2**30) >> 31


def shifted(x, right):
    return int(Fraction(abs(x), 2**right) + Fraction(1, 2)) * (1 if x >= 0 else -1)  # ties away from zero


LATE = {  # one element's value before the clamp, of its sum, bias, multiplier, right shift and output's zero point
    "adds the output's zero point before the right shift": lambda acc, b, m, right, zero: shifted(
        product(acc, m) + zero, right),
    "adds the bias after the multiplication, before": lambda acc, b, m, right, zero: shifted(
        product(acc - b, m) + b, right) + zero,
    "its product is cut off above 127 alone": lambda acc, b, m, right, zero: shifted(
        min(product(acc, m), 127), right) + zero,
    "its product is cut off below -128 and above 127": lambda acc, b, m, right, zero: shifted(
        max(-128, min(product(acc, m), 127)), right) + zero,
    "requantised by itself": lambda acc, b, m, right, zero: shifted(product(acc - b, m), right) + shifted(
        product(b, m), right) + zero,
    "at a wrong scale: shifted right by 3, rounded": lambda acc, b, m, right, zero: shifted(
        product(acc - b, m), right) + ((b + 4) >> 3) + zero,
    "factor of its multiplier as float32, cut towards zero": lambda acc, b, m, right, zero: int(
        np.float32(acc) * np.float32(m * 2.0 ** (-31 - right))) + zero,
}


@pytest.mark.parametrize("words", LATE)
def test_what_follows_a_sum_is_what_its_words_say(words):
    network, node = a_node("d1_ecg_small", "conv2d", where=lambda node: (node.arrays["shift"] < 0).all()
                           and node.arrays["bias"].any() and node.attrs["output_offset"] not in (0, -128))
    given, a = evidence_of(network, node), node.attrs
    names = ("product before its shift", "bias after the requantisation", "floating point")
    (made,) = [values for name in names for said, values in RARE[name].variants(given) if words in said]
    for at in list(np.ndindex(made.shape))[::5]:
        b, m, s = (int(node.arrays[key][at[3]]) for key in ("bias", "multiplier", "shift"))
        whole = LATE[words](int(given.accumulator[at]), b, m, -s, a["output_offset"])
        assert made[at] == min(max(whole, a["act_min"]), a["act_max"]), at
    assert not np.array_equal(made, given.right)


@pytest.mark.parametrize("columns, words", [
    ([3], "column 3 of 20"), ([3, 4, 5], "columns 3 to 5 of 20"), ([0, 19], "columns 0, 19 of 20"),
    ([1, 4, 7, 10], "every 3rd column from 1 to 10 of 20"), ([1, 5, 6, 11, 13, 18], None)])
def test_a_part_is_simple(columns, words):
    """One piece or two, or every n-th; what only a list describes is no part."""
    right = np.zeros((2, 4, 20, 3), np.int64)
    got = right.copy()
    got[:, :, columns] = 1
    told = part([Shown(got, right, np.ones_like(right))])
    assert told == (None if words is None else f", in {words} alone")
