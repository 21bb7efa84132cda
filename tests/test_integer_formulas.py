"""Operators as text: they are the operators; a change of one place is found, and nothing in what is no change."""

import ast
from dataclasses import replace

import numpy as np
import pytest
from integer_ports import integer_network

from npunet.golden.integer.corners import layer_inputs
from npunet.golden.integer.stages import stages
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.formulas.aliased import aliased
from npunet.verify.integer.formulas.edits import edits
from npunet.verify.integer.formulas.machine import Machine
from npunet.verify.integer.formulas.search import search
from npunet.verify.integer.formulas.writes import misplaced
from npunet.verify.integer.parts import Shown, part
from npunet.verify.integer.stale import overwritten, unwritten

NETWORKS = [("d1_ecg_small", "int8", "D"), ("d2_separable_mixed", "int8", "S"), ("d1_softmax", "int16x8", "D"),
            ("d1_softmax", "int8", "D"), ("d1_layer_norm", "int8", "D")]


def evidence_of(network, node, got=None, **shown):
    """A layer's own case; got : makes what a port gives from what is right."""
    inputs = tuple(layer_inputs(node, network, 0))
    right = stages(node, inputs, network)
    y = right.out.astype(np.int64)
    y = y if got is None else got(y)
    return Evidence(node, network, inputs, y, shown={"out": y, **shown}, samples=len(y))


def a_node(name, op, scheme="int8", rounding="D", where=lambda node: True):
    network = integer_network(name, scheme, rounding).network
    fitting = [node for node in network if node.op == op and where(node)]
    return network, fitting[len(fitting) // 2]


@pytest.mark.parametrize("given", NETWORKS, ids=lambda given: "-".join(given))
def test_every_text_is_its_operator(given):
    network = integer_network(*given).network
    for node in {node.op: node for node in network}.values():
        inputs = tuple(layer_inputs(node, network, 0))
        machine = Machine(node, network, inputs)
        elements = np.arange(int(np.prod(machine.shape)))[:: 7]
        made, unknown = machine.run(elements)
        for role, values in stages(node, inputs, network).items():
            if role in made:
                np.testing.assert_array_equal(made[role], values.ravel()[elements], f"{node.name}.{role}")
        assert not unknown.any()


def test_edits_leave_the_text_as_it_was():
    network, node = a_node("d1_ecg_small", "conv2d")
    machine = Machine(node, network, tuple(layer_inputs(node, network, 0)))
    before = {name: ast.unparse(function) for name, function in machine.tree.items()}
    changed = [ast.unparse(edit.function) != before[edit.function.name]
               for edit in edits([machine.tree["finish"]], machine.space, False)]
    assert len(changed) > 200 and np.mean(changed) > 0.99
    assert {name: ast.unparse(function) for name, function in machine.tree.items()} == before


def test_a_changed_text_is_found():
    network, node = a_node("d1_softmax", "leaky_relu")
    machine = Machine(node, network, tuple(layer_inputs(node, network, 0)))
    machine.put(compile(ast.unparse(machine.tree["operator"]).replace("centred >= 0", "x[n] >= 0"), "", "exec"))
    everything = np.arange(int(np.prod(machine.shape)))
    given = evidence_of(network, node, lambda y: machine.run(everything)[0]["out"].reshape(y.shape))
    found, tried = search([given])
    assert tried > 100 and "x[n] >= 0` where `centred >= 0` belongs" in found[0].words and found[0].where == ""


def test_nothing_is_found_in_noise(rng):
    network, node = a_node("d1_softmax", "rescale", "int16x8")
    given = evidence_of(network, node, lambda y: y ^ (rng.random(y.shape) < 0.1))
    assert search([given])[0] == [] and misplaced([given])[0] == [] and aliased([given]) == []
    assert not list(unwritten([given])) and not list(overwritten([given]))


def test_a_wrong_place_is_found():
    network, node = a_node("d2_separable_mixed", "conv2d", rounding="S",
                           where=lambda node: len(node.arrays["bias"]) > 3)
    given = evidence_of(network, node, lambda y: np.roll(y.reshape(len(y), -1), 2, 1).reshape(y.shape))
    words, tried = misplaced([given])
    assert tried > 100 and any("+ 2" in each for each in words)


def test_what_is_not_written_is_told_where_it_stays():
    network, node = a_node("d2_separable_mixed", "add", rounding="S")
    stale = np.where(np.indices((11, 7, 5)).sum(0) % 3 == 0, 1, 0).astype(bool)
    given = evidence_of(network, node, lambda y: np.where(stale, 9, y))
    (words, apply), = unwritten([given])
    assert "does not write" in words and "9 stands there" in words and np.array_equal(apply(given), given.got)
    moving = evidence_of(network, node, lambda y: np.where(stale, y ^ 1, y))
    assert not list(unwritten([moving]))


def test_another_tensor_over_the_output(rng):
    network, node = a_node("d1_ecg_small", "add")
    other = rng.integers(-128, 128, (evidence_of(network, node).got.shape[0], 1, 1, 20))

    def over(y):
        flat = y.reshape(len(y), -1).copy()
        flat[:, -15:] = other.reshape(len(y), -1)[:, :15]
        return flat.reshape(y.shape)

    given = replace(evidence_of(network, node, over), others={"somebody": other})
    (words, apply), = overwritten([given])
    assert "overwritten by that of somebody" in words and np.array_equal(apply(given), given.got)


def test_an_output_over_its_own_input():
    network, node = a_node("d1_ecg_small", "depthwise_conv2d", where=lambda node: node.arrays["weights"].shape[2] > 3)
    x = layer_inputs(node, network, 0)[0][:1]
    memory, y = x.copy(), np.zeros(stages(node, (x,), network).out.shape, np.int64)
    for place in np.ndindex(y.shape):
        y[place] = memory[place] = stages(node, (memory,), network).out[place]
    given = Evidence(node, network, (x,), y, shown={"out": y}, others={"in": x})
    assert aliased([given]) == ["writes its output over its input, which it still reads"]
    assert not aliased([replace(given, got=given.right + 1)])


@pytest.mark.parametrize("where, words", [
    (np.s_[:, :, 3:], ", in columns 3 to 5 of 6 alone"),
    (np.s_[:, 1:3, 2:4], ", where rows 1 to 2 of 4 and columns 2 to 3"),
    (np.s_[...], "")])
def test_parts_in_words(where, words, rng):
    right = rng.integers(-99, 99, (2, 4, 6, 3))
    faulty, got = right + rng.integers(1, 9, right.shape), right.copy()
    got[where] = faulty[where]
    told = part([Shown(got, right, faulty)])
    assert told is not None and told.startswith(words) and (words or not told)
    got[0, 0, 0, 0] += 50
    assert part([Shown(got, right, faulty)]) is None
