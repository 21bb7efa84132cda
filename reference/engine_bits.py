"""The engine's bits as digests, to be compared on another kind of machine.

    python reference/engine_bits.py            # compare this machine's engine with engine_bits.json: exit status 0 or 1
    python reference/engine_bits.py --write    # store what the NumPy definition gives

Three networks in the three declared arithmetics: the pretrained ECG segmenter, the separable 2-D preset on an image of
48 x 80 and the preset tiny. Weights, inputs and so digests depend on no library: they are drawn as whole numbers from
NumPy's PCG64 and scaled by powers of two, which is exact. reference/aarch64.sh runs this under qemu-user.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from npunet import UNet, presets, pretrained  # noqa: E402

STORED = HERE / "engine_bits.json"
ARITHMETICS = ("seq", "seq_fma", "winograd")
BITS = 20  # of a drawn number


def drawn(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Numbers in [-scale, scale) on a grid of 2^-20 scale; scale : a power of two."""
    return (rng.integers(-(1 << BITS), 1 << BITS, shape) * (scale / (1 << BITS))).astype(np.float32)


def described(name: str, size: tuple[int, ...] | None = None) -> UNet:
    """A preset with drawn weights: kernels by 2^-3, biases, offsets and means by 2^-2, variances and scales near 1."""
    preset = presets.load(name)
    shape = tuple(preset["input_shape"])
    model = UNet(preset, shape if size is None else (*size, shape[-1]), preset["num_classes"])
    rng = np.random.default_rng(9)
    for key, value in model.weights.items():
        value[...] = drawn(rng, value.shape, 2.0**-3 if value.ndim > 1 else 2.0**-2)
        if key.endswith(("gamma", "moving_variance")):
            value += np.float32(1)
    return model


def networks() -> Iterator[tuple[str, UNet]]:
    """The networks by name."""
    yield "ecg", pretrained.load("ecg").network
    yield "separable-2d", described("separable-2d", (48, 80))
    yield "tiny", described("tiny")


def digests(backend: str) -> Iterator[tuple[str, str, float]]:
    """(network/arithmetic, sha256 of the outputs of two inputs, seconds) of each."""
    models = dict(networks())
    for arithmetic in ARITHMETICS:                                          # each is compiled when it is first used
        for name, model in models.items():
            shape = tuple(extent or 256 for extent in model.input_shape)
            x = drawn(np.random.default_rng(5), (2, *shape), 2.0)
            start = time.perf_counter()
            y = model.predict(x, backend=backend, arithmetic=arithmetic)
            yield f"{name}/{arithmetic}", hashlib.sha256(y.astype("<f4").tobytes()).hexdigest(), \
                time.perf_counter() - start


def main() -> int:
    """Write or compare; the number of digests that differ."""
    if sys.argv[1:] == ["--write"]:
        stored = {name: digest for name, digest, _ in digests("numpy")}
        STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8", newline="\n")
        return 0
    from npunet.engine.target import this_target

    stored, wrong = json.loads(STORED.read_text(encoding="utf-8")), 0
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}", flush=True)
    for name, digest, seconds in digests("engine"):
        wrong += digest != stored[name]
        verdict = "same bits" if digest == stored[name] else "OTHER BITS"
        print(f"{verdict}  {name:<24} {digest[:16]}  {seconds:8.1f} s", flush=True)
    print(f"register tiles: {this_target().name}; {len(stored) - wrong} of {len(stored)} as stored")
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
