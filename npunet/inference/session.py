"""A network compiled for one size: repeated calls into buffers that are there, without a look at the weights."""

from __future__ import annotations

from math import prod

import numpy as np

from npunet import memory
from npunet.engine.runtime.engine import Engine
from npunet.engine.runtime.runner import Runner
from npunet.inference.sizes import Sizes, check_shape
from npunet.weights import WeightStore


class Session:
    """One network at one size, with its weights as they were when this was made: later changes are not seen.

    engine : what runs it
    input  : what is run next, float32 (B, L, C) or (B, H, W, C); int8 or int16 for an integer network
    output : the last result, (B, L, K) or (B, H, W, K) of the same type

    Both keep their memory as long as the session lives, so a call overwrites the result of the one before. Calls must
    not overlap: for several Python threads make a session each, or use predict.
    """

    def __init__(self, engine: Runner, input: np.ndarray, images: np.ndarray, output_shape: tuple[int, ...]) -> None:
        """images : the memory of `input` as (B, H, W, C);  output_shape : of one result"""
        batch, shape = len(input), engine.program.output_shape
        memory.require(engine.dtype.itemsize * batch * prod(shape), f"batch={batch} at {input.shape[1:]}",
                       "use a smaller batch")
        results = np.zeros((batch, *shape), engine.dtype)
        self.engine, self.input, self.output = engine, input, results.reshape(batch, *output_shape)
        self._run = engine.repeated(images, results)

    def __call__(self, x: np.ndarray | None = None) -> np.ndarray:
        """Run what stands in `input`; returns `output`.

        x : of input's shape, real numbers (for an integer network of its type): copied into `input` first

        Raises ValueError for another shape, and for what is not real.
        """
        if x is not None and x is not self.input:
            self._take(np.asarray(x))
        self._run()
        return self.output

    def _take(self, x: np.ndarray) -> None:
        if x.shape != self.input.shape:
            raise ValueError(f"x has shape {x.shape}; this session runs {self.input.shape}, compile one for that size")
        if x.dtype.kind not in "fiub":
            raise ValueError(f"x has dtype {x.dtype}; it must hold real numbers")
        if self.input.dtype.kind == "i" and x.dtype != self.input.dtype:
            raise ValueError(f"x has dtype {x.dtype}; the network takes {self.input.dtype}: quantize_input(x) makes it "
                             "of real numbers")
        self.input[...] = x

    def __repr__(self) -> str:
        count = len(self.engine.program.instructions)
        return f"Session({self.input.shape} -> {self.output.shape}, {count} instructions)"


def float_session(sizes: Sizes, weights: WeightStore, input_shape: tuple[int | None, ...] | None, batch: int,
                  arithmetic: str, threads: int | None) -> Session:
    """A session of a float network. Raises ValueError for a size that is open or does not fit."""
    wanted = check_shape(sizes.input_shape if input_shape is None else input_shape)
    shape = tuple(size for size in wanted if size is not None)
    if shape != wanted:
        raise ValueError(f"a session is for one size, input_shape={wanted} leaves one open: give "
                         "compile(input_shape)")
    input = new_input(batch, shape, "float32")
    images, _ = sizes.admit(input, "float32")  # the same memory as (B, H, W, C)
    engine = Engine(sizes.graph(images.shape[1:3]), weights, arithmetic, threads)
    output_shape = engine.program.output_shape
    return Session(engine, input, images, output_shape[1:] if sizes.rank == 1 else output_shape)


def new_input(batch: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Zeros for so many samples. Raises ValueError for a batch that is no number from 1, MemoryError."""
    if isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1:
        raise ValueError(f"batch={batch!r} must be at least 1")
    memory.require(np.dtype(dtype).itemsize * int(batch) * prod(shape), f"batch={batch} at {shape}",
                   "use a smaller batch")
    return np.zeros((batch, *shape), dtype)
