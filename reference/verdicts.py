"""What Keras says to random parameter sets: `python reference/verdicts.py --store` writes stored/verdicts.json.gz."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pathlib
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import keras_run
from naming import underscored
from parameter_sets import COUNT, SEED, parameter_set

PATH = pathlib.Path(__file__).resolve().parent / "stored" / "verdicts.json.gz"


def window(layer: Any) -> list | None:
    """What identifies a windowed layer: kernel and dilation, pool and strides, or the upsampling factor."""
    if hasattr(layer, "dilation_rate"):
        return [list(layer.kernel_size), list(layer.dilation_rate)]
    if isinstance(layer, keras.layers.MaxPooling2D):
        return [list(layer.pool_size), list(layer.strides)]
    return [list(layer.size)] if isinstance(layer, keras.layers.UpSampling2D) else None


def named_by_keras(layer: Any) -> bool:
    """Reshapes, dropouts and the softmax, which unet.py leaves to Keras' counter."""
    return isinstance(layer, (keras.layers.Reshape, keras.layers.Dropout, keras.layers.Softmax))


def judge(params: dict, input_shape: list, num_classes: Any) -> dict[str, Any]:
    """Keras' verdict: what was built, or the error.

    Returns {"built": True, "output_shape", "parameters", "layers": {name: window or None}} in order of creation, with
    our names, or {"built": False, "error": type, "message": first 200 characters}.
    """
    try:
        model, layers = keras_run.build(params, input_shape, num_classes, "float32")
    except Exception as error:  # whatever Keras, pydantic or Python raise is the verdict
        return {"built": False, "error": type(error).__name__, "message": str(error)[:200]}
    return {
        "built": True,
        "output_shape": list(model.output.shape[1:]),
        "parameters": model.count_params(),
        "layers": {underscored(layer.name): window(layer) for layer in layers if not named_by_keras(layer)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="write the table; without it, print a summary only")
    parser.add_argument("--count", type=int, default=COUNT)
    chosen = parser.parse_args()
    rows = []
    for number in range(chosen.count):
        row = parameter_set(number)
        rows.append({**row, **judge(row["params"], row["input_shape"], row["num_classes"])})
    if chosen.store:
        table = {"seed": SEED, "keras": keras.__version__, "rows": rows}
        with open(PATH, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(json.dumps(table, separators=(",", ":")).encode())
    print(f"{len(rows)} parameter sets: {sum(row['built'] for row in rows)} built", file=sys.stderr)


if __name__ == "__main__":
    main()
