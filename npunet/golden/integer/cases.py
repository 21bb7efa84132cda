"""Inputs of the cases of an integer bundle."""

from __future__ import annotations

import numpy as np

from npunet.golden.draws import Draws
from npunet.integer.network import Network

NETWORK_CASES = ("random", "zeros", "minimum", "maximum", "impulse", "signal")
KINDS = (*NETWORK_CASES, "layers")  # "layers": one case for every layer, see corners
RANDOM_SAMPLES = 2


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Raise ValueError for a kind that does not exist, and for none."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"there is no case {', '.join(map(repr, unknown)) or 'asked for'}; choose from "
                         f"{', '.join(KINDS)}")


def network_input(kind: str, network: Network, seed: int) -> np.ndarray:
    """(N, H, W, C) of the network's type.

    random  : every value of the type, evenly
    zeros   : the zero point everywhere, which means 0
    minimum, maximum : the type's ends everywhere
    impulse : one sample a channel, the zero point but for one maximum in the middle
    signal  : two triangle waves over three quarters of the range, another phase each channel
    """
    x = network.tensors[network.input]
    H, W, C = x.shape
    low, high = x.limits
    if kind == "random":
        drawn = Draws(seed, "network random").integers((RANDOM_SAMPLES, H, W, C), low, high + 1)
    elif kind == "impulse":
        drawn = np.full((C, H, W, C), x.zero_point)
        drawn[np.arange(C), H // 2, W // 2, np.arange(C)] = high
    elif kind == "signal":
        drawn = _signal((H, W, C), low, high)[None]
    else:
        value = {"zeros": x.zero_point, "minimum": low, "maximum": high}[kind]
        drawn = np.full((1, H, W, C), value)
    return drawn.astype(x.dtype)


def _signal(shape: tuple[int, int, int], low: int, high: int) -> np.ndarray:
    """Triangle waves of whole numbers, which every machine makes alike."""
    rows, columns, channels = (np.arange(extent).reshape([-1 if axis == k else 1 for k in range(3)])
                               for axis, extent in enumerate(shape))
    period = max(8, shape[1] // 4)
    at = (columns + 5 * channels + 3 * rows) % period
    slow = np.abs(2 * at - period) * 256 // period                                             # 0 ... 256
    fast = np.abs(2 * ((7 * columns + 11 * rows + channels) % 32) - 32) * 4                    # 0 ... 128
    middle, reach = (low + high + 1) // 2, (high - low) * 3 // 8
    return middle + reach * (2 * slow + fast - 320) // 320
