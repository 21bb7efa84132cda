"""Weights by name: initial values, names in their two spellings, and the check that a set of them fits a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np

from npunet.graph import Graph, WeightSpec
from npunet.stored import Stored
from npunet.values import natural

TRUNCATION = 2.0  # standard deviations
TRUNCATED_DEVIATION = 0.87962566103423978  # of a standard normal cut at +-2


class WeightStore(MutableMapping[str, np.ndarray]):
    """Weights by name, all views of one block of memory, in the graph's order.

    An array can be changed in place; assigning to a name copies into its place, and needs the same shape. That all
    stand in one block lets a reader see whether any has changed by one comparison; as long as nobody was given an array
    to change, by the stamp alone.

    read_only : the same arrays, not to be changed in place
    stamp     : grows with every assignment; None once an array that can be changed in place was given out

    `update` puts several weights in place at once and `snapshot` copies all of them at once, as other threads see it:
    each copies the block in one step that never lets go of the interpreter's lock. So whoever works on a snapshot has
    one whole set of weights, from before or after an update.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], dtype: np.dtype) -> None:
        self.block = np.empty(sum(array.size for array in arrays.values()), dtype)
        self.read_only: dict[str, np.ndarray] = {}
        self.stamp: int | None = 0
        self._views = views_of(self.block, arrays)
        for name, array in arrays.items():
            self._views[name][...] = array
            self.read_only[name] = self._views[name].view()
            self.read_only[name].flags.writeable = False

    def snapshot(self) -> WeightStore:
        """All weights as they are at one moment."""
        stamp, moment = self.stamp, np.empty_like(self.block)
        copy_at_once(moment, self.block)
        taken = WeightStore(views_of(moment, self._views), moment.dtype)
        taken.stamp = stamp  # of before: an update that came in between is seen by its new stamp
        return taken

    def update(self, weights: Mapping[str, np.ndarray]) -> None:  # type: ignore[override]
        """Assign several weights at once. Raises KeyError, ValueError, and then assigns none."""
        for name, value in weights.items():
            self._refuse(name, value)
        after = np.empty_like(self.block)
        copy_at_once(after, self.block)
        views = views_of(after, self._views)
        for name, value in weights.items():
            views[name][...] = value
        copy_at_once(self.block, after)
        if self.stamp is not None:
            self.stamp += 1

    def __getitem__(self, name: str) -> np.ndarray:
        self.stamp = None
        return self._views[name]

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        self._refuse(name, value)
        copy_at_once(self._views[name].reshape(-1), np.ascontiguousarray(value, self.block.dtype).reshape(-1))
        if self.stamp is not None:
            self.stamp += 1

    def _refuse(self, name: str, value: np.ndarray) -> None:
        if name not in self._views:
            raise KeyError(f"the network has no weight {name!r}")
        if np.shape(value) != self._views[name].shape:
            raise ValueError(f"{name} is {self._views[name].shape}, not {np.shape(value)}")

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} is part of the network and cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def views_of(block: np.ndarray, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A block cut into arrays of the given shapes, by their names."""
    views, start = {}, 0
    for name, array in arrays.items():
        views[name] = block[start : start + array.size].reshape(array.shape)
        start += array.size
    return views


def copy_at_once(to: np.ndarray, source: np.ndarray) -> None:
    """Copy one contiguous array into another of its size and dtype, while no other Python thread runs.

    NumPy lets other threads run while it copies; Python's memoryview does not.
    """
    to.data[:] = source.data


def initialise(graph: Graph, seed: int | None, dtype: np.dtype) -> dict[str, np.ndarray]:
    """First values of every weight, in creation order: kernels he_normal, scales 1, offsets 0; without a seed all 0.

    he_normal is a normal cut at two standard deviations with variance 2 / fan_in; a depthwise kernel counts
    KH * KW * C as its fan-in, as Keras does (its standard deviation is sqrt(C) too small).
    Source: He et al. 2015, arXiv:1502.01852, equation 10; keras.initializers.HeNormal.
    """
    if seed is None:
        return {spec.name: np.zeros(spec.shape, dtype) for spec in graph.weights.values()}
    generator = np.random.default_rng(natural("seed", seed))
    return {spec.name: initial_value(spec, generator).astype(dtype) for spec in graph.weights.values()}


def initial_value(spec: WeightSpec, generator: np.random.Generator) -> np.ndarray:
    if spec.initializer == "he_normal":
        fan_in = int(np.prod(spec.shape[:-1]))
        return truncated_normal(generator, spec.shape) * (np.sqrt(2.0 / fan_in) / TRUNCATED_DEVIATION)
    return np.ones(spec.shape) if spec.initializer == "ones" else np.zeros(spec.shape)


def truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal values, each drawn again until it lies within two standard deviations."""
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > TRUNCATION).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values


def canonical(name: str) -> str:
    """A weight's or layer's name as npunet spells it: dots to underscores, except before bn and ln.

    "ENC1.D1.conv/kernel" -> "ENC1_D1_conv/kernel", "ENC1.D1.bn/gamma" -> "ENC1_D1.bn/gamma".
    """
    layer, slash, variable = name.partition("/")
    return re.sub(r"[._](bn|ln)$", r".\1", layer.replace(".", "_")) + slash + variable


def matched(graph: Graph, given: Mapping[str, np.ndarray | Stored], dtype: np.dtype, *,
            allow_nonfinite: bool = False) -> dict[str, np.ndarray]:
    """The given weights in the graph's order, names and dtype; what stands in a file is read once all of it fits.

    allow_nonfinite : take NaN, Inf, and numbers that overflow the dtype, which become Inf

    Raises ValueError that lists every missing, surplus and wrongly shaped weight, or names the first that is not
    finite.
    """
    named: dict[str, np.ndarray | Stored] = {}
    faults = []
    for name, value in given.items():
        if canonical(name) in named:
            faults.append(f"given twice: {canonical(name)} (the second time as {name})")
        named[canonical(name)] = value if isinstance(value, Stored) else np.asarray(value)
    faults += [f"missing: {name} {spec.shape}" for name, spec in graph.weights.items() if name not in named]
    faults += [f"surplus: {name} {value.shape}" for name, value in named.items() if name not in graph.weights]
    _refuse(faults + _misshapen(graph, named))
    return {name: _converted(name, named[name], dtype, allow_nonfinite) for name in graph.weights}


def refuse_misshapen(graph: Graph, given: Mapping[str, np.ndarray | Stored]) -> None:
    """Raise ValueError that lists every weight of another shape than the graph's; others may be missing or surplus."""
    _refuse(_misshapen(graph, given))


def _misshapen(graph: Graph, given: Mapping[str, np.ndarray | Stored]) -> list[str]:
    faults = []
    for name, spec in graph.weights.items():
        if name in given and given[name].shape != spec.shape:
            faults.append(f"wrong shape: {name} is {given[name].shape}, the network needs {spec.shape}")
        elif name in given and given[name].dtype.kind not in "fiu":
            faults.append(f"not real numbers: {name} has dtype {given[name].dtype}")
    return faults


def _refuse(faults: list[str]) -> None:
    if faults:
        raise ValueError("the weights do not fit the network:\n  " + "\n  ".join(faults))


def _converted(name: str, given: np.ndarray | Stored, dtype: np.dtype, allow_nonfinite: bool) -> np.ndarray:
    value = given.read() if isinstance(given, Stored) else given
    with np.errstate(over="ignore", invalid="ignore"):
        weight = np.array(value, dtype=dtype, order="C")
    if not allow_nonfinite and not (finite := np.isfinite(weight)).all():
        at = np.unravel_index(np.argmin(finite), weight.shape)
        fault = f"is {value[at]}" if not np.isfinite(value[at]) else f"is {value[at]}, too large for {dtype}"
        raise ValueError(f"{name} at {tuple(map(int, at))} {fault}: this is no trained network; pass "
                         "allow_nonfinite=True to take it as it is")
    return weight
