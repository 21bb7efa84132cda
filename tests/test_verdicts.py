"""What Keras builds is built here, what it refuses is refused here, but for the differences that are written below."""

import gzip
import json
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from npunet import UNet

REFERENCE = Path(__file__).parent.parent / "reference"
BLOCK = {"filters", "depth", "ddepth", "kernel", "pool", "strides", "skip", "seperable", "dropout", "norm", "dilation",
         "activation"}
NETWORK = {"blocks", "include_top", "use_logits", "name", "output_kernel_size", "output_kernel_stride"}
WHOLE = {"filters", "depth", "ddepth", "kernel", "pool", "strides", "dilation", "output_kernel_size",
         "output_kernel_stride"}
TRUTH = {"skip", "seperable", "include_top", "use_logits"}


def blocks_of(row):
    return row["params"].get("blocks", [])


def arguments(row):
    """Every (key, value) of the row, of the network and of its blocks."""
    yield from row["params"].items()
    for block in blocks_of(row):
        yield from block.items()


def entries(value):
    return value if isinstance(value, list) else [value]


def unknown_key(row):
    """Keras drops a key that it does not know; here a misspelt argument is an error."""
    return (set(row["params"]) - NETWORK - {"model_name"}
            or any(set(block) - BLOCK - {"separable"} for block in blocks_of(row)))


def contradicting_alias(row):
    """Keras reads one of the two spellings and drops the other; here they must agree."""
    names = row["params"]
    return (len({names[key] for key in ("name", "model_name") if key in names}) > 1
            or any(len({bool(b[key]) for key in ("seperable", "separable") if key in b}) > 1 for b in blocks_of(row)))


def number_out_of_range(row):
    """Keras builds what it never looks at: depth -1, a dilation of 0 that depth 1 does not use, a stride of the top."""
    numbers = [(key, n) for key, value in arguments(row) if key in WHOLE for n in entries(value) if type(n) is int]
    return any(n < (0 if key == "ddepth" else 1) for key, n in numbers)


def certain_dropout(row):
    """Keras builds a dropout that leaves nothing; here the rate lies in [0, 1)."""
    return any(block.get("dropout") == 1 for block in blocks_of(row))


def empty_shape(row):
    """Keras builds for a size of 0."""
    return 0 in row["input_shape"]


def text_for_a_number(row):
    """Pydantic reads "4", True and "yes" as a number or a truth value; here JSON's own types are asked for."""
    return (any(isinstance(n, (str, bool)) for key, value in arguments(row) if key in WHOLE for n in entries(value))
            or any(isinstance(value, str) for key, value in arguments(row) if key in TRUTH | {"dropout"}))


def strides_that_do_not_divide(row):
    """Without a skip Keras returns an output longer than the input."""
    sizes = ([1, *row["input_shape"]] if len(row["input_shape"]) == 2 else list(row["input_shape"]))[:2]
    for block in blocks_of(row):
        strides = pair(block.get("strides", 1))
        if any(size is not None and size % stride for size, stride in zip(sizes, strides, strict=True)):
            return not block.get("skip", True)
        sizes = [size and size // stride for size, stride in zip(sizes, strides, strict=True)]
    return False


def int_strides_of_a_signal(row):
    """Keras takes them for the height too, which has one row; here an int means (1, n)."""
    return len(row["input_shape"]) == 2 and any(isinstance(block.get("strides"), int) for block in blocks_of(row))


def pair(value):
    return value if isinstance(value, list) else [value, value]


REFUSED_HERE = [unknown_key, contradicting_alias, number_out_of_range, certain_dropout, empty_shape, text_for_a_number,
                strides_that_do_not_divide]
BUILT_HERE = [int_strides_of_a_signal]


def separable_spelt_right(row):
    """Keras drops the correct spelling and builds a dense network; here it is an alias."""
    return any("separable" in block for block in blocks_of(row))


@cache
def table():
    with gzip.open(REFERENCE / "stored" / "verdicts.json.gz", "rt") as file:
        rows = json.load(file)["rows"]
    assert len(rows) >= 600
    return rows


@cache
def ours():
    """Our verdict on every row: a UNet, or the exception."""
    return [judge(row) for row in table()]


def judge(row):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "on a signal of height 1", UserWarning)
        try:
            return UNet(row["params"], tuple(row["input_shape"]), row["num_classes"])
        except Exception as error:  # its type is looked at by a test below
            return error


def say(row):
    return f"{row['twists']} {json.dumps(row['params'])} {row['input_shape']} {row['num_classes']}"


def test_every_verdict_is_keras_or_a_written_difference():
    used = Counter()
    for row, verdict in zip(table(), ours(), strict=True):
        built = isinstance(verdict, UNet)
        if built == row["built"]:
            continue
        reasons = [reason for reason in (BUILT_HERE if built else REFUSED_HERE) if reason(row)]
        assert reasons, f"built here: {built}, by Keras: {row['built']}; {verdict}; {row.get('message')}; {say(row)}"
        used.update(reason.__name__ for reason in reasons)
    assert set(used) == {reason.__name__ for reason in REFUSED_HERE + BUILT_HERE}, "a written difference has no row"


def test_a_written_difference_holds_on_every_row_that_it_describes():
    for row, verdict in zip(table(), ours(), strict=True):
        for reason in REFUSED_HERE:
            assert not (isinstance(verdict, UNet) and reason(row)), f"{reason.__name__}: {say(row)}"


def test_every_refusal_is_one_value_error_with_a_way_to_find_it():
    for row, verdict in zip(table(), ours(), strict=True):
        if not isinstance(verdict, UNet):
            assert isinstance(verdict, ValueError), f"{type(verdict).__name__}: {verdict}; {say(row)}"
            assert len(str(verdict)) > 20, say(row)


def window_of(graph, node):
    """What verdicts.py stores of a windowed layer: kernel and dilation, pool and strides, or the factor."""
    kernels = [graph.weights[name].shape for name in node.weights if name.endswith(("/kernel", "/depthwise_kernel"))]
    if kernels:
        return [list(kernels[0][:2]), list(node.attrs.get("dilation", (1, 1)))]
    if node.op == "max_pool2d":
        return [list(node.attrs["window"]), list(node.attrs["stride"])]
    return [list(node.attrs["factor"])] if "factor" in node.attrs else None


def keras_layers(row):
    """Keras' layers, with an int pool of a signal as (1, n): the window's other rows only ever see padding."""
    flat = len(row["input_shape"]) == 2
    return {name: [[1, window[0][1]], window[1]] if flat and name.endswith("_pool") else window
            for name, window in row["layers"].items()}


def test_what_both_build_is_the_same_network():
    compared = 0
    for row, model in zip(table(), ours(), strict=True):
        if not (isinstance(model, UNet) and row["built"]) or separable_spelt_right(row):
            continue
        graph = model.graph
        layers = {node.name: window_of(graph, node) for node in graph if not node.op.startswith(("dropout", "softmax"))}
        assert layers == keras_layers(row), say(row)
        assert list(layers) == list(row["layers"]), say(row)
        assert sum(spec.size for spec in graph.weights.values()) == row["parameters"], say(row)
        shape = graph.shape(graph.output)[-len(row["output_shape"]):]
        assert all(want in (None, got) for got, want in zip(shape, row["output_shape"], strict=True)), say(row)
        compared += 1
    assert compared >= 200


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_what_live_keras_says(monkeypatch):
    pytest.importorskip("neuralspot_edge", reason="needs the environment of reference/requirements.txt")
    monkeypatch.syspath_prepend(str(REFERENCE))
    import parameter_sets
    import verdicts

    for number in range(0, len(table()), 16):
        row = parameter_sets.parameter_set(number)
        verdict = verdicts.judge(row["params"], row["input_shape"], row["num_classes"])
        kept = {key: value for key, value in table()[number].items() if key not in ("message", "error")}
        now = {key: value for key, value in {**row, **verdict}.items() if key not in ("message", "error")}
        assert json.loads(json.dumps(now)) == kept, f"row {number}"
