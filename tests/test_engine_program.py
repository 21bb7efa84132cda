"""Programs as text and JSON: what is told is what the table says."""

import json

import numpy as np
import pytest
from engine_cases import small, strided
from test_reference import NAMES, model_of, stored

from npunet import cli
from npunet.cli import models
from npunet.deploy import deploy
from npunet.engine.plan import report
from npunet.engine.plan.opcodes import Field
from npunet.engine.plan.program import compile_program
from npunet.summary import rows

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_of_the_layers(name):
    """Without fusion every layer's own, less taps that see nothing but padding; fusion only takes some away."""
    model = model_of(*stored(name), "float32")
    layers = {row.name: row.macs for row in rows(deploy(model.graph, model.weights)[0])}
    alone = report.instructions(compile_program(model.graph, model.weights, fuse=False))
    assert all(row.macs <= layers.get(row.layer, 0) for row in alone)
    fused = report.totals(compile_program(model.graph, model.weights))
    assert fused["macs"] <= sum(row.macs for row in alone) and fused["instructions"] <= len(alone)


def test_macs_where_nothing_is_trimmed():
    model = models.open_model("ecg")
    alone = report.instructions(compile_program(model.graph, model.weights, fuse=False))
    assert sum(row.macs for row in alone) == sum(row.macs for row in rows(model.graph)) == 1_915_392


@pytest.mark.parametrize("make", [small, strided])
def test_operands_stand_where_the_table_says(make):
    model = make()
    program = compile_program(model.graph, model.weights, threads=3)
    for row, columns in zip(report.instructions(program), program.table, strict=True):
        for operand in row.writes:
            assert operand.offset == 4 * columns[Field.Y]
            assert operand.shape[:2] == (columns[Field.HEIGHT], columns[Field.WIDTH]) or "unpool" in str(row.fused)
        if row.reads and row.op != "copy_in":
            assert row.reads[0].offset == 4 * columns[Field.X]
        for operand in (*row.reads, *row.writes):
            above, below, left, right = operand.halo
            height, width, channels = operand.shape
            size = (above + height + below) * (left + width + right) * channels
            assert operand.offset >= 0 and operand.offset + 4 * height * width * channels <= 4 * program.arena.size
            assert size * 4 <= 4 * program.arena.size
    told = report.totals(program)
    assert told["arena"] == 4 * program.arena.size and told["constants"] == program.constants.nbytes
    assert told["input"] == 4 * int(np.prod(model.graph.input_shape))


def test_every_layer_is_in_the_program():
    """As an instruction's layer or among what is fused into one."""
    model = strided()
    deployed, _ = deploy(model.graph, model.weights)
    program = report.instructions(compile_program(model.graph, model.weights))
    told = {name for row in program for name in (row.layer, *row.fused)}
    assert {node.name for node in deployed} <= told


def test_savings_are_told():
    model = strided()
    peaks = report.peaks(lambda fuse, in_place: compile_program(model.graph, model.weights, fuse=fuse,
                                                                in_place=in_place))
    assert list(peaks) == ["fused, in place", "fused", "in place", "neither"]
    assert peaks["fused, in place"] == 4 * compile_program(model.graph, model.weights).arena.size
    assert peaks["fused, in place"] < peaks["neither"]


def test_the_verb_prints_a_table(capsys):
    assert cli.main(["program", "ecg-docstring"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "ecg-docstring  input 1x800x1  threads 1"
    assert out[1].split() == ["#", "instruction", "layer", "reads", "writes", "weights", "fused", "MACs", "bytes"]
    assert "separable" in out[3] and "ENC1_D1_conv" in out[3] and "1x5x1x1, 1x1x1x12, 12" in out[3]
    assert "relu6" in out[3] and "13,600" in out[3]
    assert any(line.startswith("arena on one thread: fused, in place ") for line in out)
    assert cli.main(["program", "dense-2d", "--arithmetic", "winograd"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split()[-3:] == ["MACs", "done", "bytes"] and "2,055,208,960 MACs (653,787,136 done)" in out[-3]
    assert cli.main(["program", "ecg-docstring", "--input-shape", "1600,1", "--threads", "2"]) == 0
    assert "input 1x1600x1  threads 2" in capsys.readouterr().out


def test_the_verb_prints_json(capsys):
    assert cli.main(["program", "tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["totals"]["instructions"] == len(told["instructions"])
    assert told["totals"]["macs"] == sum(row["macs"] for row in told["instructions"])
    assert told["instructions"][-1]["op"] == "copy_out" and told["output_shape"] == [1, 32, 2]
    first = told["instructions"][0]["writes"][0]
    assert first["tensor"] == "input" and first["shape"] == [1, 32, 1] and len(first["halo"]) == 4


def test_the_verb_refuses(capsys):
    assert cli.main(["new", "ecg", "open.npz", "--input-shape", "none,1"]) == 0
    assert cli.main(["new", "tiny", "double.npz", "--dtype", "float64"]) == 0
    for arguments, told in ((["open.npz"], "add --input-shape"), (["double.npz"], "the engine runs float32"),
                            (["tiny", "--input-shape", "33,1"], "which the strides do not divide"),
                            (["tiny", "--threads", "0"], "0 must be at least 1")):
        assert cli.main(["program", *arguments]) == 2
        assert told in capsys.readouterr().err
    assert cli.main(["program", "open.npz", "--input-shape", "64,1"]) == 0
