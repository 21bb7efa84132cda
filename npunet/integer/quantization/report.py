"""What quantising cost, tensor by tensor: the integer network beside the float one on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet import run as float_run
from npunet.integer import run
from npunet.integer.network import Network, Tensor
from npunet.integer.quantization.quantize import admitted, planned
from npunet.integer.quantization.scales import round_half_away

SAMPLES = 32  # that are looked at, evenly spread over those given
COPYING = ("max_pool2d", "avg_pool2d", "upsample_nearest2d", "concat")  # operators that leave a scale as it is
PERFECT = 200.0  # dB, for tensors without any error


@dataclass(frozen=True)
class TensorReport:
    """One tensor of the integer network.

    layer         : its name
    low, high     : range of the float network's values
    scale, zero_point : of the integers
    clipped       : share of the float values that lie beyond the integers
    sqnr          : dB, signal to quantisation noise of the whole network up to here
    alone         : dB, the same of this operator by itself, whose inputs are the float network's, rounded
    shares        : other tensors that have one scale with it, because operators copy integers between them
    """

    layer: str
    low: float
    high: float
    scale: float
    zero_point: int
    clipped: float
    sqnr: float
    alone: float
    shares: tuple[str, ...] = ()


def report(network: Any, made: Network, x: np.ndarray) -> list[TensorReport]:
    """Compare a UNet and its integer network, tensor by tensor in execution order.

    x : inputs as for quantize, of which SAMPLES are looked at
    """
    x = np.asarray(x)[np.unique(np.linspace(0, len(x) - 1, SAMPLES).astype(int))]
    images = admitted(network, x)
    plan = planned(network, images.shape[1:3])
    real, _ = float_run.forward(plan.graph, plan.weights, images)
    whole = run.forward(made, quantised(images, made.tensors[made.input]))
    rows, shares = [], _one_scale(made)
    for name in (made.input, *(node.name for node in made)):
        tensor, values = made.tensors[name], real.get(name)
        if values is None:                                          # a requantisation, which only integers have
            values = real[name] = real[made[name].inputs[0]]
        ideal = quantised(values, tensor)
        if name == made.input:
            alone = ideal
        else:
            node = made[name]
            alone = run.apply(node, [quantised(real[source], made.tensors[source]) for source in node.inputs], made)
        low, high = (tensor.scale * (limit - tensor.zero_point) for limit in tensor.limits)
        beyond = (values < low - tensor.scale / 2) | (values > high + tensor.scale / 2)
        rows.append(TensorReport(name, float(values.min()), float(values.max()), tensor.scale, tensor.zero_point,
                                 float(beyond.mean()), sqnr(values, meant(whole[name], tensor)),
                                 sqnr(values, meant(alone, tensor)), shares[name]))
    return rows


def sqnr(signal: np.ndarray, quantised: np.ndarray) -> float:
    """Signal to quantisation noise in dB: 10 log10(sum s^2 / sum (q - s)^2), at most PERFECT."""
    power = float((signal.astype(np.float64) ** 2).sum())
    noise = float(((quantised - signal.astype(np.float64)) ** 2).sum())
    if noise <= power * 10 ** (-PERFECT / 10):
        return PERFECT
    return float(10 * np.log10(max(power, 1e-300) / noise))


def quantised(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values as the integers of a tensor."""
    steps = round_half_away((values / np.float32(tensor.scale)).astype(np.float64))
    return np.clip(steps + tensor.zero_point, *tensor.limits).astype(tensor.dtype)


def meant(q: np.ndarray, tensor: Tensor) -> np.ndarray:
    """What integers stand for, float64."""
    return tensor.scale * (q.astype(np.float64) - tensor.zero_point)


def table(rows: Sequence[TensorReport], worst: int = 5) -> str:
    """The report as text: every tensor in execution order, after the `worst` that lose most by themselves."""
    width = max(len(row.layer) for row in rows)
    losers = sorted(rows[1:], key=lambda row: row.alone)[:worst]
    told = ", ".join(f"{row.layer} {row.alone:.1f} dB" for row in losers)
    lines = [f"operators that lose most by themselves: {told}", "",
             f"{'tensor':{width}}  {'range':>21}  {'scale':>10}  {'zero':>5}  {'clipped':>8}  {'SQNR':>8}  "
             f"{'alone':>8}"]
    for row in rows:
        span = f"{row.low:.4g} ... {row.high:.4g}"
        lines.append(f"{row.layer:{width}}  {span:>21}  {row.scale:10.4g}  {row.zero_point:5d}  "
                     f"{100 * row.clipped:6.2f} %  {row.sqnr:5.1f} dB  {row.alone:5.1f} dB")
    return "\n".join([*lines, *_shared(rows)])


def _shared(rows: Sequence[TensorReport]) -> list[str]:
    """Which tensors have one scale, in words: why a scale covers more than a tensor's own range."""
    joined = dict.fromkeys(tuple(sorted((row.layer, *row.shares))) for row in rows if row.shares)
    if not joined:
        return []
    order = [row.layer for row in rows]
    return ["", "one scale for several tensors, so that copying between them needs no requantisation:",
            *(f"  {', '.join(sorted(names, key=order.index))}" for names in joined)]


def _one_scale(made: Network) -> dict[str, tuple[str, ...]]:
    """For every tensor the others with which pooling, upsampling and concatenation give it one scale."""
    groups = {name: {name} for name in made.tensors}
    for node in made:
        if node.op in COPYING:
            joined = set().union(*(groups[name] for name in (node.name, *node.inputs)))
            groups |= dict.fromkeys(joined, joined)
    return {name: tuple(sorted(group - {name})) for name, group in groups.items()}
