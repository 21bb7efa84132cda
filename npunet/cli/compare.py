"""npunet compare: where two models, or two dumps of tensors, differ."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet import IntegerModel, UNetParams, load
from npunet.cli import models
from npunet.cli.models import verb
from npunet.formats import is_integer, opened_model, opened_weights
from npunet.reading import npz, read_all, read_npy, reading
from npunet.weights import canonical

SHOWN = 20  # tensors that differ


def add(verbs: Any) -> None:
    """Arguments of `npunet compare`."""
    parser = verb(verbs, "compare", compare, "say where two models or two dumps of tensors differ",
                  "npunet compare model.npz trained.keras")
    for name in ("first", "second"):
        parser.add_argument(name, help="model or weights: .npz, .keras, .h5, .weights.h5, .safetensors, integer "
                            ".tflite; or a dump: .npz, .npy, or a folder of .npy")


def compare(arguments: Namespace) -> None:
    """Print the differences; the exit status is 1 where there are any."""
    (described, first), (other, second) = read(arguments.first), read(arguments.second)
    told_apart = list(disagreements(described, other)) if described and other else []
    lines = told_apart[:SHOWN] + [f"... and {len(told_apart) - SHOWN} more"] * (len(told_apart) > SHOWN)
    only = [(arguments.first, sorted(first.keys() - second.keys())),
            (arguments.second, sorted(second.keys() - first.keys()))]
    lines += [f"only in {source}: {', '.join(names[:SHOWN])}{' ...' * (len(names) > SHOWN)}"
              for source, names in only if names]
    common = [name for name in first if name in second]
    told = {name: difference(first[name], second[name]) for name in common}
    differing = [name for name in common if told[name]]
    lines += [f"{name}: {told[name]}" for name in differing[:SHOWN]]
    lines += [f"... and {len(differing) - SHOWN} more"] * (len(differing) > SHOWN)
    lines.append(f"{len(common) - len(differing)} of {len(common)} tensors are equal, bit for bit")
    print("\n".join(lines))
    if len(lines) > 1:
        raise SystemExit(1)


def disagreements(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """The innermost values at which two descriptions differ, each with its place: "params/blocks/2/filters: 12 and 16",
    counted from 1."""
    one, other = (value.to_dict() if isinstance(value, UNetParams) else value for value in (one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            if key in one and key in other:
                yield from disagreements(one[key], other[key], f"{at}/{key}" if at else str(key))
            elif at:                                                         # at the top, another kind of file
                yield f"{at}/{key}: only in the {'first' if key in one else 'second'}"
    elif _is_listed(one) and _is_listed(other):
        if len(one) != len(other):
            yield f"{at}: {len(one)} and {len(other)} of them"
        elif any(_is_listed(each) or isinstance(each, Mapping) for each in (*one, *other)):
            for number, pair in enumerate(zip(one, other, strict=True), 1):
                yield from disagreements(*pair, f"{at}/{number}")
        elif list(one) != list(other):
            yield f"{at}: {one!s:.60} and {other!s:.60}"
    elif one != other:
        yield f"{at}: {one!s:.60} and {other!s:.60}"


def _is_listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def read(source: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a model says of itself, nothing for other files, and its tensors by name. Raises ValueError, OSError."""
    path = Path(source)
    if path.is_dir():
        found = {file.relative_to(path).with_suffix("").as_posix(): read_npy(file)
                 for file in sorted(path.rglob("*.npy"))}
        if not found:
            raise ValueError(f"{source} holds no .npy; name a model, an .npz or a folder of .npy")
        return {}, found
    if path.suffix == ".npy":
        return {}, {path.stem: read_npy(path)}
    if is_integer(source) and isinstance(opened := load(source), IntegerModel):
        return integers(opened)
    if models.is_model(source):
        with opened_model(source) as (description, weights):
            description.pop("aliases", None)
            return description, {canonical(name): value for name, value in read_all(weights).items()}
    if path.suffix == ".npz":
        with reading(source), npz(source) as arrays:
            return {}, {canonical(name): value for name, value in read_all(arrays).items()}
    with opened_weights(source) as weights:
        return {}, read_all(weights)


def integers(model: IntegerModel) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same of an integer network: how it rounds and its operators; their integers with their scales."""
    network = model.network
    described = {key: getattr(network, key) for key in ("scheme", "rounding", "input_shape", "output_shape")}
    found = {f"{name}/scale and zero point": np.array([tensor.scale, tensor.zero_point])
             for name, tensor in network.tensors.items()}
    for node in network.nodes:
        described |= {f"{node.name}/{key}": value for key, value in {"operator": node.op, **node.attrs}.items()}
        found |= {f"{node.name}/{key}": value for key, value in node.arrays.items()}
        found |= {f"{node.name}/{key} scale": value for key, value in node.scales.items()}
    return described, found


def difference(a: np.ndarray, b: np.ndarray) -> str:
    """How two tensors differ, in words; empty where shape, dtype and every bit are equal."""
    if a.shape != b.shape:
        return f"shape {a.shape} and {b.shape}"
    note = "" if a.dtype == b.dtype else f", {a.dtype} and {b.dtype}"
    if not note and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes():
        return ""
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return f"other values{note}"
    with np.errstate(all="ignore"):
        x, y = a.astype(np.float64), b.astype(np.float64)
        apart = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    count = np.count_nonzero(apart)
    if not count:
        return f"equal values, other bits{note}"
    worst = np.unravel_index(np.argmax(np.where(np.isnan(apart), np.inf, apart)), apart.shape)
    return (f"{count:,} of {apart.size:,} values differ, by at most {apart[worst]:.3g} at {tuple(map(int, worst))} "
            f"({a[worst]:.9g} and {b[worst]:.9g}){note}")
