"""Keras weight files: `.keras`, `.weights.h5`, and the old `.h5`.

`.weights.h5` holds layers/<class>[_N]/vars/<i>, the classes counted in construction order, the variables in the order
of VARIABLES. Since Keras 3.6 the `vars` group carries the layer's name; before, a name has to come from the order or
from the config.json beside it. `.keras` is a zip around such a file. The old `.h5` names everything.
Optimiser state and seed generators stand in groups of their own and are not read.
Source: keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py of Keras 3.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from npunet import memory
from npunet.extras import extra
from npunet.files import ZIP_EPOCH, atomic_write
from npunet.formats import hdf5, keras_config
from npunet.graph import Graph
from npunet.reading import Stored, json_object, opened_zip, refuse_bomb

KERAS = "3.15.1"  # whose layout is written
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # Keras 3; TensorFlow 2.12 to 2.15
DEEPEST = 8  # models within models
MOST_DEFLATED = 1100  # deflate makes one byte of at most 1032

# Keras' class -> its variables in stored order; a bias stands last and may be missing.
VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
}


@contextmanager
def opened_keras(path: str | os.PathLike[str], graph: Graph | None = None) -> Iterator[dict[str, Stored]]:
    """The weights of a `.keras`, `.weights.h5` or old `.h5` file, known by their shapes.

    graph : the network they are for; only used when neither the file nor a config.json names the layers

    Gives "<layer>/<variable>" -> array, the layers as the file names them, the dtypes as stored.
    Raises ValueError when the file is of another network, or nameless without `graph`; any of reading.FAULTS when it is
    damaged; MissingExtra.
    """
    h5py = extra("h5py", "keras")
    source: Any = os.fspath(path)
    names: dict[str, str] = {}
    if zipfile.is_zipfile(path):
        with opened_zip(path) as archive:
            source = io.BytesIO(_member(archive, "model.weights.h5"))
            names = _configured_names(json_object(_member(archive, "config.json")))
    with hdf5.opened(source) as file:
        root = file.get("model_weights", file)
        if "layer_names" in root.attrs:
            yield _read_named(h5py, root)
        elif (layers := _find_layers(h5py, root)) is not None:
            yield _read_counted(h5py, layers, names or _expected_names(graph.weights if graph else ()))
        else:
            raise ValueError("it is an HDF5 file, but not one of Keras' weights (no group 'layers' or "
                             "'model_weights')")


def has_architecture(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a whole Keras model: `.keras`, or an old `.h5` with its configuration."""
    return _configuration(path) is not None


def architecture(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of UNet from a whole Keras model. Raises ValueError with the layer that differs."""
    if (found := _configuration(path)) is None:
        raise ValueError("it has weights but no network; build the model, then use load_weights")
    return keras_config.architecture_of(json_object(found))


def _configuration(path: str | os.PathLike[str]) -> str | bytes | None:
    """A model's configuration as JSON; None where there is none. Raises any of FAULTS."""
    with open(path, "rb") as file:
        head = file.read(len(hdf5.MAGIC))
    if head.startswith(b"PK"):
        with opened_zip(path) as archive:
            whole = {"config.json", "model.weights.h5"} <= set(archive.namelist())
            return _member(archive, "config.json") if whole else None
    if head != hdf5.MAGIC:
        return None
    with hdf5.opened(path) as file:
        return _text(file.attrs["model_config"]) if "model_config" in file.attrs else None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive. Raises any of FAULTS, ValueError where it does not fit in memory."""
    info = archive.getinfo(name)
    refuse_bomb(info.file_size, info.compress_size)
    memory.require(2 * info.file_size, f"reading {name}", "take a smaller file, or more memory")
    return archive.read(info)


def write_keras_weights(path: str | os.PathLike[str], weights: Mapping[str, np.ndarray]) -> None:
    """Write a `.weights.h5` file that `keras.Model.load_weights` accepts for the same network.

    weights : "<layer>/<variable>" -> array, every layer complete, in creation order

    Raises ValueError for a variable that no layer of the network has, MissingExtra.
    """
    with atomic_write(path) as target:
        _write_hdf5(target, weights)


def _write_hdf5(target: IO[bytes], weights: Mapping[str, np.ndarray]) -> None:
    with extra("h5py", "keras").File(target, "w") as file:
        for counted, layer in _expected_names(weights).items():
            group = file.create_group(f"layers/{counted}/vars")
            group.attrs["name"] = layer
            variables = [name for name in VARIABLES[_class_of(counted)] if f"{layer}/{name}" in weights]
            for index, variable in enumerate(variables):
                group.create_dataset(str(index), data=weights[f"{layer}/{variable}"])


def write_keras(path: str | os.PathLike[str], graph: Graph, weights: Mapping[str, np.ndarray],
                input_shape: tuple[int | None, ...], name: str) -> None:
    """Write a `.keras` file that `keras.saving.load_model` reads: architecture and weights. Raises MissingExtra.

    graph, input_shape, name : of the network as trained;  weights : by npunet's names, in creation order
    """
    config = keras_config.model_config(graph, input_shape, name)
    members = {"metadata.json": json.dumps({"keras_version": KERAS, "date_saved": "1980-01-01@00:00:00"}).encode(),
               "config.json": json.dumps(config).encode()}
    content = io.BytesIO()
    _write_hdf5(content, weights)
    members["model.weights.h5"] = content.getvalue()
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member, ZIP_EPOCH), data)


def _find_layers(h5py: Any, group: Any, depth: int = 0) -> Any:
    """The group that holds this network's layers: the one with the most of them, perhaps within another model's."""
    found, most = None, 0
    for name in group if depth < DEEPEST else ():
        inner = group.get(name, getlink=True)
        if not isinstance(inner, h5py.HardLink) or not isinstance(group[name], h5py.Group):
            continue
        candidates = [_find_layers(h5py, group[name], depth + 1)]
        candidates += [group[name]] if name in CONTAINERS else []
        for candidate in candidates:
            number = 0 if candidate is None else sum(_class_of(layer) in VARIABLES for layer in candidate)
            if number > most:
                found, most = candidate, number
    if depth == 0 and found is None and "layers" in group:
        return group["layers"]
    return found


def _read_counted(h5py: Any, layers: Any, names: Mapping[str, str]) -> dict[str, Stored]:
    """Layers counted by class; their names from the file, else from `names` (class and number -> name)."""
    weights: dict[str, Stored] = {}
    counts: dict[str, int] = {}
    for stored in sorted(layers, key=_class_and_number):
        group = _inside(h5py, layers, stored)
        if not isinstance(group, h5py.Group) or "vars" not in group or not len(_inside(h5py, group, "vars")):
            continue  # a layer without weights
        variables = _inside(h5py, group, "vars")
        kind = _class_of(stored)
        number = counts[kind] = counts.get(kind, -1) + 1  # TensorFlow 2.13 counts every layer twice
        counted = f"{kind}_{number}" if number else kind
        known = VARIABLES.get(_class_of(counted))
        if known is None or len(variables) > len(known):
            raise ValueError(f"layer {counted} with {len(variables)} variables is not one that this network has")
        layer = _text(variables.attrs["name"]) if "name" in variables.attrs else names.get(counted)
        if layer is None:
            raise ValueError(
                f"layer {counted} has no name (Keras before 3.6 stores none) and no counterpart in the network; "
                "load the file through a model of the same parameters: UNet(...).load_weights(path)"
            )
        for index, variable in enumerate(known[: len(variables)]):
            weights[f"{layer}/{variable}"] = _array(h5py, variables, str(index))
    return weights


def _read_named(h5py: Any, root: Any) -> dict[str, Stored]:
    """The old layout: <layer>/<path of the weight>, listed in attributes; a path may end in ":0"."""
    weights: dict[str, Stored] = {}
    for layer in map(_text, root.attrs["layer_names"]):
        group = _inside(h5py, root, layer)
        for stored in map(_text, group.attrs["weight_names"]):
            path, _, variable = stored.removesuffix(":0").rpartition("/")
            if variable != "seed_generator_state":
                owner = path.rpartition("/")[2] or layer  # within a model within a model the path tells the layer
                weights[f"{owner}/{variable}"] = _array(h5py, group, stored)
    return weights


def _configured_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Class and number -> layer name from the config.json of a `.keras` file, whose layers stand in stored order."""
    try:
        layers = keras_config.network_layers(config)
    except ValueError:  # another network's, whose weights may be asked for all the same
        layers = config.get("config", {}).get("layers", [])
    return _counted((_snake_case(layer["class_name"]), layer["config"]["name"]) for layer in layers)


def _expected_names(names: Iterable[str]) -> dict[str, str]:
    """Class and number -> layer name from weight names in creation order."""
    variables: dict[str, set[str]] = {}
    for name in names:
        layer, _, variable = name.rpartition("/")
        variables.setdefault(layer, set()).add(variable)
    return _counted((_class_by_variables(layer, given), layer) for layer, given in variables.items())


def _counted(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Number (class, name) pairs as Keras does: conv2d, conv2d_1, conv2d_2, ..."""
    counts: dict[str, int] = {}
    names = {}
    for kind, layer in layers:
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        names[f"{kind}_{number}" if number else kind] = layer
    return names


def _class_by_variables(layer: str, variables: set[str]) -> str:
    for kind, known in VARIABLES.items():
        if variables <= set(known) and set(known) - variables <= {"bias"}:
            return kind
    raise ValueError(f"layer {layer} with {', '.join(sorted(variables))} is complete for no layer that Keras stores")


def _snake_case(name: str) -> str:
    """Keras' spelling of a class: SeparableConv2D -> separable_conv2d."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _class_of(counted: str) -> str:
    return re.sub(r"_\d+$", "", counted)


def _class_and_number(counted: str) -> tuple[str, int]:
    kind = _class_of(counted)
    return kind, int(counted[len(kind) + 1 :] or 0)


def _inside(h5py: Any, group: Any, name: str) -> Any:
    """A member of a group, possibly some levels down. Raises ValueError where a link leads, maybe to another file."""
    for step in name.split("/"):
        if not isinstance(group.get(step, getlink=True), h5py.HardLink | None):
            raise ValueError(f"{group.name} has a link {step!r}; links are not followed")
        group = group[step]
    return group


def _array(h5py: Any, group: Any, name: str) -> Stored:
    dataset = _inside(h5py, group, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{group.name}/{name} is not a plain array in this file")
    if dataset.shape is None or dataset.dtype.kind not in "fiub":
        raise ValueError(f"{group.name}/{name} has the dtype {dataset.dtype}; weights are numbers")
    kept = dataset.id.get_storage_size()
    if dataset.nbytes > MOST_DEFLATED * kept:  # the rest would be made up while it is read
        raise ValueError(f"{group.name}/{name} declares {dataset.nbytes} bytes and stores {kept}")
    return Stored(dataset.shape, dataset.dtype, lambda: np.asarray(dataset[()]))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
