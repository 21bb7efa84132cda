"""TensorFlow's own float conversions of stored configurations, as .tflite, for reading.

    python reference/float_tflite.py            # writes stored/float, about a minute

Needs tensorflow-cpu and neuralspot-edge. Network and weights are those of stored/<case>.npz. The form says how it
upsamples (see integer_tflite.converted); "half" has weights of float16 behind DEQUANTIZE. Between them the files hold
every operator that the converter writes for this network: with the batch left open, dilated convolutions stay
SPACE_TO_BATCH_ND with MUL and ADD behind them, and shapes are computed at run time.
"""

from __future__ import annotations

import hashlib
import json
import pathlib

import configurations
import keras
import keras_run  # before TensorFlow, whose logging it quietens
import tensorflow as tf
from integer_tflite import converted

FOLDER = pathlib.Path(__file__).resolve().parent / "stored" / "float"
FILES = (
    ("d1_ecg_small", "tile"), ("d1_layer_norm", "open"), ("d1_odd_no_stride", "tile"), ("d1_selu_one_class", "open"),
    ("d1_softmax", "resize"), ("d2_activations", "tile"), ("d2_dilation_reset", "open"),
    ("d2_kernel_over_image", "tile"), ("d2_no_top_no_logits", "open"), ("d2_separable", "half"),
    ("d2_separable_mixed", "resize"), ("d2_strides_mixed", "tile"),
)


def half(converter: tf.lite.TFLiteConverter) -> None:
    """Weights of float16."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def main() -> None:
    """Convert everything, and list it with its digests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    keras_run.single_threaded()
    cases = {case["name"]: case for case in configurations.ONE_D + configurations.TWO_D}
    files = {}
    for name, form in FILES:
        content = converted(cases[name], "tile", half) if form == "half" else (
            converted(cases[name], form, lambda converter: None))
        (FOLDER / f"{name}.{form}.tflite").write_bytes(content)
        files[f"{name}.{form}.tflite"] = {"case": name, "form": form, "sha256": hashlib.sha256(content).hexdigest()}
        print(f"{name}.{form}.tflite: {len(content):,} bytes", flush=True)
    manifest = {"versions": {"tensorflow": tf.__version__, "keras": keras.__version__}, "files": files}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
