"""A network compiled for one size: repeated calls into buffers that are there, without a look at the weights."""

from __future__ import annotations

from math import prod

import numpy as np

from npunet import memory
from npunet.engine.runtime.engine import Engine
from npunet.inference.sizes import Sizes, check_shape
from npunet.weights import WeightStore


class Session:
    """One network at one size, with its weights as they were when this was made: later changes are not seen.

    input  : float32, what is run next; (B, L, C) or (B, H, W, C)
    output : float32, the last result; (B, L, K) or (B, H, W, K)

    Both keep their memory as long as the session lives, so a call overwrites the result of the one before. Calls must
    not overlap: for several Python threads make a session each, or use UNet.predict.
    """

    def __init__(self, sizes: Sizes, weights: WeightStore, input_shape: tuple[int | None, ...] | None, batch: int,
                 arithmetic: str, threads: int | None) -> None:
        wanted = check_shape(sizes.input_shape if input_shape is None else input_shape)
        shape = tuple(size for size in wanted if size is not None)
        if shape != wanted:
            raise ValueError(f"a session is for one size, input_shape={wanted} leaves one open: give "
                             "compile(input_shape)")
        if isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1:
            raise ValueError(f"batch={batch!r} must be at least 1")
        memory.require(4 * int(batch) * prod(shape), f"batch={batch} at {shape}", "use a smaller batch")
        self.input = np.zeros((batch, *shape), np.float32)
        self._images, _ = sizes.admit(self.input, "float32", None)  # the same memory as (B, H, W, C)
        self.engine = Engine(sizes.graph(self._images.shape[1:3]), weights, arithmetic, threads)
        memory.require(4 * int(batch) * prod(self.engine.program.output_shape), f"batch={batch} at {shape}",
                       "use a smaller batch")
        self._results = np.zeros((batch, *self.engine.program.output_shape), np.float32)
        self.output = sizes.release(self._results, None)
        self._run = self.engine.repeated(self._images, self._results)

    def __call__(self, x: np.ndarray | None = None) -> np.ndarray:
        """Run what stands in `input`; returns `output`.

        x : of input's shape, real numbers: copied into `input` first

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
        self.input[...] = x

    def __repr__(self) -> str:
        return f"Session({self.input.shape} -> {self.output.shape}, {len(self.engine.program.steps)} instructions)"
