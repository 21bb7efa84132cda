"""A 1-D network on a signal that arrives piece by piece: the same bits as on the whole signal.

An output is given as soon as every sample that it depends on is there. It is computed in a window that begins and ends
at whole periods of the strides and holds all that the output depends on; what else stands in it does not matter. At
the two ends of the signal, where outputs do see the padding, the window's border is the signal's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npunet import run
from npunet.deploy import deploy
from npunet.inference import integer_receptive, receptive
from npunet.inference.receptive import Context
from npunet.inference.sizes import Sizes
from npunet.integer.network import Network
from npunet.integer.resize import multiple_of, resized
from npunet.integer.run import infer
from npunet.weights import WeightStore

OUTPUTS = ("logits", "labels")
LONG = 8  # windows that take so many times more new outputs, for long pieces


class Signal(NamedTuple):
    """A 1-D network as a stream takes it.

    period   : the product of the strides
    context  : what outputs depend on, see receptive
    channels, outputs : of a sample, of what comes of it
    dtype    : of samples and outputs;  silence : what stands for 0 in samples
    executor : for a length, a function of samples (1, 1, length, C) that gives the outputs (1, 1, length, K)
    """

    period: int
    context: Context
    channels: int
    outputs: int
    dtype: np.dtype
    silence: int
    executor: Callable[[int], Callable[[np.ndarray], np.ndarray]]


def float_signal(sizes: Sizes, weights: WeightStore, backend: str, arithmetic: str, threads: int | None) -> Signal:
    """A float network with its weights as they are now. Raises ValueError for one of images, or with layer norm."""
    if sizes.rank != 1:
        raise ValueError(f"a stream is a signal; the network takes images {sizes.input_shape}")
    if sizes.fixed:
        raise ValueError(f"block {sizes.fixed[0]} (ENC{sizes.fixed[0]}): norm='layer' looks at the whole signal, "
                         "so no output can come before its end; use norm='batch'")
    if arithmetic == "any":
        raise ValueError("arithmetic='any' gives bits that depend on the length; a stream runs 'seq' or 'seq_fma'")
    weights, graph, period = weights.snapshot(), sizes.graph(), sizes.multiple[1]

    def executor(length: int) -> Callable[[np.ndarray], np.ndarray]:
        graph = sizes.graph((1, length))
        if backend == "engine":
            from npunet.engine.runtime.engine import Engine

            return Engine(graph, weights, arithmetic, threads)
        deployed = deploy(graph, weights)
        return lambda x: run.infer(*deployed, x, arithmetic=arithmetic)

    return Signal(period, receptive.context(graph, 1, period), sizes.channels, graph.shape(graph.output)[2],
                  weights.block.dtype, 0, executor)


def integer_signal(network: Network, backend: str, threads: int | None) -> Signal:
    """An integer network; what stands for samples that never come is its input's zero point.

    Raises ValueError for one of images, or one that is bound to its size.
    """
    if len(network.input_shape) != 2:
        raise ValueError(f"a stream is a signal; the network takes images {network.input_shape}")
    period, x = multiple_of(network)[1], network.tensors[network.input]
    resized(network, (1, 2 * x.shape[1]))  # refuses what has one size

    def executor(length: int) -> Callable[[np.ndarray], np.ndarray]:
        at_length = resized(network, (1, length))
        if backend == "engine":
            from npunet.engine.integer.engine import IntegerEngine

            return IntegerEngine(at_length, threads)
        return lambda samples: infer(at_length, samples)

    return Signal(period, integer_receptive.context(network, 1, period), x.shape[2],
                  network.tensors[network.output].shape[2], np.dtype(x.dtype), x.zero_point, executor)


class Stream:
    """A network and the signal it has heard so far. Weights are as they were when this was made.

    delay  : an output comes at the latest when so many samples after its own have arrived
    period : the product of the strides; flush() pads the signal to a multiple of it

    Not for several Python threads at once.
    """

    def __init__(self, signal: Signal, output: str) -> None:
        if output not in OUTPUTS:
            raise ValueError(f"output={output!r} must be one of {', '.join(OUTPUTS)}")
        self.signal, self.period, self.context = signal, signal.period, signal.context
        self.delay = max(0, int(self.context.after.max()))
        self._reach = self.delay + max(0, int(self.context.before.max()))
        self._labels = output == "labels"
        self._executors: dict[int, Callable[[np.ndarray], np.ndarray]] = {}
        self._restart()

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and give the outputs that they complete, in order, perhaps none.

        samples : (n, C), or (n,) for one channel, any n; of any real dtype, or of an integer network's

        Returns (m, K) in the model's dtype, or for labels (m,) int64. Raises ValueError for other shapes and dtypes.
        """
        self._take(self._admitted(samples))
        return self._joined(self._complete(self._received))

    def flush(self) -> np.ndarray:
        """End the signal and give the outputs that are left; the next push begins a new signal.

        The signal is padded as predict(pad=True) does: with zeros to a multiple of the period.
        """
        asked, end = self._received, self._outputs
        padding = -self._received % self.period
        self._take(np.full((padding, self.signal.channels), self.signal.silence, self.signal.dtype))
        pieces = self._complete(self._received)
        if (done := end + sum(map(len, pieces))) < self._received:
            start = max(0, self._received - self._window(1))  # so that the window's end is the signal's
            pieces.append(self._run(start, self._received)[done - start :])
        self._restart()
        rest = self._joined(pieces)
        return rest[: asked - end]

    def _restart(self) -> None:
        self._held = np.empty((0, self.signal.channels), self.signal.dtype)
        self._held_from = 0  # position of the first sample held, a multiple of the period
        self._received = 0
        self._outputs = 0

    def _admitted(self, samples: np.ndarray) -> np.ndarray:
        samples, channels, dtype = np.asarray(samples), self.signal.channels, self.signal.dtype
        if samples.dtype.kind not in "fiub":
            raise ValueError(f"the samples have dtype {samples.dtype}; they must be real numbers")
        if dtype.kind == "i" and samples.dtype != dtype:
            raise ValueError(f"the samples have dtype {samples.dtype}; the network takes {dtype}: quantize_input(x) "
                             "makes it of real numbers")
        if samples.ndim == 1 and channels == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or samples.shape[1] != channels:
            raise ValueError(f"the samples have shape {samples.shape}; the network takes (n, {channels})")
        return samples

    def _take(self, samples: np.ndarray) -> None:
        self._held = np.concatenate([self._held, samples.astype(self._held.dtype, copy=False)])
        self._received += len(samples)

    def _complete(self, end: int) -> list[np.ndarray]:
        """Every output whose last sample comes before `end`, which no padding reaches from the right."""
        pieces = []
        waiting = np.arange(self._outputs, end)
        ready = int((waiting + self.context.after[waiting % self.period] < end).sum())
        while ready:
            first = self._outputs
            start = self._needed_from(first)
            stop = start + self._window(ready)
            inside = np.arange(first, first + ready)
            count = int((inside + self.context.after[inside % self.period] < stop).sum())
            pieces.append(self._run(start, stop)[first - start : first - start + count])
            self._outputs += count
            ready -= count
        self._forget()
        return pieces

    def _needed_from(self, output: int) -> int:
        """Where a window for this output begins: a multiple of the period."""
        first = max(0, output - int(self.context.before[output % self.period]))
        return first - first % self.period

    def _window(self, outputs: int) -> int:
        """Length of a window: one that always moves on, and a longer one where there is more to do."""
        short = -(-(self._reach + 1) // self.period) + 1
        return self.period * (short if outputs <= self.period else short + LONG * short)

    def _forget(self) -> None:
        start = self._needed_from(self._outputs)
        if start > self._held_from:
            self._held = self._held[start - self._held_from :]
            self._held_from = start

    def _run(self, start: int, stop: int) -> np.ndarray:
        """Outputs (stop - start, K) of the window; silence stands for samples that are forgotten or not there yet."""
        window = np.full((1, 1, stop - start, self.signal.channels), self.signal.silence, self.signal.dtype)
        low, high = max(start, self._held_from), min(stop, self._received)
        window[0, 0, low - start : high - start] = self._held[low - self._held_from : high - self._held_from]
        return self._executor(stop - start)(window)[0, 0]

    def _executor(self, length: int) -> Callable[[np.ndarray], np.ndarray]:
        if length not in self._executors:
            self._executors[length] = self.signal.executor(length)
        return self._executors[length]

    def _joined(self, pieces: list[np.ndarray]) -> np.ndarray:
        if not pieces:
            pieces = [np.empty((0, self.signal.outputs), self.signal.dtype)]
        outputs = np.concatenate(pieces)
        return outputs.argmax(-1) if self._labels else outputs
