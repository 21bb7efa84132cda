"""TensorFlow's own integer conversions of the stored configurations, as .tflite, for comparing with npunet.quantize.

    python reference/integer_tflite.py            # writes stored/integer, about two minutes

Needs tensorflow-cpu and neuralspot-edge. The network and its weights are those of stored/<case>.npz, the calibration
data is draw.calibration(case). Every case is converted to int8 and to 16x8, with upsampling as
RESIZE_NEAREST_NEIGHBOR, which TFLite-Micro can run; those in TILED once more as Keras writes it, RESHAPE, TILE,
RESHAPE, and once with the batch left open, for which the converter computes shapes at run time. Layer norm, ELU and
SELU are left out: their conversions hold float operators.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable

import configurations
import draw
import keras
import keras_run  # before TensorFlow, whose logging it quietens
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

STORED = pathlib.Path(__file__).resolve().parent / "stored"
FOLDER = STORED / "integer"
FORMS = ("resize", "tile", "open")
TILED = ("d1_plain", "d2_strides_mixed", "d2_softmax")
FOREIGN = ("elu", "selu")  # activations without an integer operator
INT16 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
TARGETS = {"int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8), "int16x8": (INT16, tf.int16)}


@contextlib.contextmanager
def upsampling_as_resize(wanted: bool):
    """RESIZE_NEAREST_NEIGHBOR for nearest upsampling, where Keras writes RESHAPE, TILE, RESHAPE: the same values."""
    original = keras.layers.UpSampling2D.call

    def call(self, x):
        size = [x.shape[1] * self.size[0], x.shape[2] * self.size[1]]
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)

    keras.layers.UpSampling2D.call = call if wanted else original
    try:
        yield
    finally:
        keras.layers.UpSampling2D.call = original


def convertible(case: dict) -> bool:
    """Whether every layer of a case has an integer operator in TensorFlow Lite."""
    return all(block.get("norm", "batch") != "layer" and block.get("activation") not in FOREIGN
               for block in case["params"]["blocks"])


def convert(case: dict, scheme: str, form: str) -> bytes:
    """The case's network, converted to integers; form : see converted."""

    def settle(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None]] for x in draw.calibration(case))
        operators, kind = TARGETS[scheme]
        converter.target_spec.supported_ops = [operators]
        converter.inference_input_type = converter.inference_output_type = kind

    return converted(case, form, settle)


def converted(case: dict, form: str, settle: Callable[[tf.lite.TFLiteConverter], None]) -> bytes:
    """The case's network, converted.

    form   : "resize" or "tile" for how it upsamples, at batch 1; "open" for the batch left open
    settle : sets the converter's options
    """
    with upsampling_as_resize(form == "resize"):
        model, layers = keras_run.build(case["params"], case["input_shape"], case["num_classes"], "float32")
        named = keras_run.variables(layers)
        keras_run.assign(named, {name: draw.weight(case, name, tuple(v.shape)) for name, v in named.items()})
        if form == "open":
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
        else:
            signature = tf.TensorSpec((1, *case["input_shape"]), tf.float32, name="x")
            traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)
            converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(traced)])
        settle(converter)
        return converter.convert()


def main() -> None:
    """Convert everything, and list it with its digests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    keras_run.single_threaded()
    files = {}
    for case in filter(convertible, configurations.ONE_D + configurations.TWO_D):
        for scheme in TARGETS:
            for form in FORMS if case["name"] in TILED else FORMS[:1]:
                name = f"{case['name']}.{scheme}{'' if form == 'resize' else f'.{form}'}.tflite"
                content = convert(case, scheme, form)
                (FOLDER / name).write_bytes(content)
                files[name] = {"case": case["name"], "scheme": scheme, "form": form,
                               "sha256": hashlib.sha256(content).hexdigest()}
                print(f"{name}: {len(content):,} bytes", flush=True)
    manifest = {"versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
                "seed": draw.SEED, "calibration": draw.CALIBRATION, "files": files}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
