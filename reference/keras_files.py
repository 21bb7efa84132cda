"""Small models in Keras' own file formats, with an output of each: `python reference/keras_files.py`.

Every model is saved as .keras, .weights.h5 and the old .h5, beside an npz with its weights, an input and its outputs.
"compiled" has been through one step of Adam, so that its files also hold the optimiser's variables.
"""

from __future__ import annotations

import json
import pathlib
import re
import warnings
import zipfile

import draw
import keras
import keras_run
import numpy as np
import store
from configurations import block, case

FILES = pathlib.Path(__file__).resolve().parent / "stored" / "files"
ECG = {"depth": 2, "ddepth": 1, "kernel": (1, 5), "pool": (1, 3), "strides": (1, 2)}

MODELS = [
    case("batch_separable", (32, 2), 3, [block(4, seperable=True, **ECG), block(6, seperable=True, **ECG)]),
    case("layer_norm", (8, 6, 1), 4, [block(3, norm="layer", strides=2, pool=2, dropout=0.1)], use_logits=False),
    case(
        "compiled",
        (6, 8, 3),
        3,
        [block(4, strides=(1, 2)), block(3, norm=None, seperable=True, strides=2, activation="elu")],
    ),
]


def steady(path: pathlib.Path) -> None:
    """Take the dates and the memory addresses (as which Keras numbers shared objects) out of a .keras archive."""
    with zipfile.ZipFile(path) as archive:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            if name == "metadata.json":
                content = re.sub(rb'"date_saved": "[^"]*"', b'"date_saved": "1980-01-01@00:00:00"', content)
            if name == "config.json":
                seen: dict[bytes, bytes] = {}
                pattern = rb'(?<="shared_object_id": )\d+'
                content = re.sub(pattern, lambda m, seen=seen: seen.setdefault(m[0], b"%d" % len(seen)), content)
            archive.writestr(zipfile.ZipInfo(name, store.EPOCH), content, zipfile.ZIP_STORED)


def write(case: dict) -> None:
    """One model in every format."""
    params = json.loads(json.dumps(case["params"]))
    model, layers = keras_run.build(params, case["input_shape"], case["num_classes"], "float32")
    named = keras_run.variables(layers)
    keras_run.assign(named, {name: draw.weight(case, name, tuple(v.shape)) for name, v in named.items()})
    x = draw.inputs(case)
    if case["name"] == "compiled":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
        model.train_on_batch(x, draw.labels(case, (case["batch"], *model.output.shape[1:])))
    model.save(FILES / f"{case['name']}.keras")
    steady(FILES / f"{case['name']}.keras")
    model.save_weights(FILES / f"{case['name']}.weights.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls the old format legacy
        model.save(FILES / f"{case['name']}.h5")
    weights = {name: variable.numpy() for name, variable in named.items()}
    arrays = {"inference/float32/y": model(x, training=False).numpy()}
    with keras_run.exact_constants():
        wide, layers = keras_run.build(params, case["input_shape"], case["num_classes"], "float64")
        keras_run.assign(keras_run.variables(layers), weights)
        arrays["inference/float64/y"] = wide(x.astype(np.float64), training=False).numpy()
    description = {**{key: case[key] for key in ("name", "num_classes", "batch")}, "params": params}
    description |= {"input_shape": list(case["input_shape"]), "weights": list(weights)}
    stored = {"case": np.array(json.dumps(description)), "x": x, **{f"weights/{n}": w for n, w in weights.items()}}
    store.write_npz(FILES / f"{case['name']}.npz", {**stored, **arrays})


def main() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    keras_run.single_threaded()
    for model in MODELS:
        write(model)


if __name__ == "__main__":
    main()
