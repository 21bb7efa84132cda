"""golden_integer(): make the bundle of an integer network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

import npunet
from npunet.files import write_npz
from npunet.golden import boards
from npunet.golden.integer import cases, cgen, headers
from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.readme import readme
from npunet.golden.integer.records import ROUNDING_RULES, RULE_64, SCHEMA, layer_records, quantisation, tensor_record
from npunet.golden.integer.stages import run_network
from npunet.golden.place import beside
from npunet.golden.writers import FORMATS, check_formats, readmemh, write_case, write_sums, write_text
from npunet.integer.network import Network
from npunet.integer_model import IntegerModel

Progress = Callable[[int, int, str], None]
NAMES = {"D": "double rounding", "S": "single rounding"}
MAX_SIZE = 64 << 20  # bytes of tensors


def golden_integer(model: IntegerModel | str | PathLike[str], out: str | PathLike[str], *,
                   inputs: np.ndarray | None = None, kinds: Sequence[str] | None = None,
                   formats: Sequence[str] = FORMATS, seed: int = 0, max_size: int = MAX_SIZE,
                   target: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Write the golden bundle of an integer network; its form is in npunet.golden.integer's docstring.

    model    : an IntegerModel, or the path of one
    out      : folder to write; an old bundle there is replaced whole or not at all, anything else is refused
    inputs   : integers (B, L, C) or (B, H, W, C) of the network's size and type: one more case
    kinds    : from cases.KINDS; all by default
    formats  : of "npz", "bin", "c", "hex"
    seed     : of the random case
    max_size : bytes of all tensors, in one format
    target   : a processor of boards.TARGETS: c/board/ is what a board with it needs to run every case
    progress : called as progress(done, total, what)

    Returns the manifest. Raises ValueError for a float model and for arguments that do not fit, FileExistsError for a
    folder in use.
    """
    opened = integer_model(model)
    chosen = cases.KINDS if kinds is None else tuple(kinds)
    if chosen or inputs is None:
        cases.check_kinds(chosen)
    check_formats(tuple(formats))
    if seed < 0:
        raise ValueError(f"seed={seed} must not be negative")
    board = None if target is None else boards.target_called(target)
    if board is not None:
        boards.check(board, tuple(formats))
    network = opened.network
    images = {kind: cases.network_input(kind, network, seed) for kind in chosen}
    if inputs is not None:
        images["input"] = _admitted(opened, inputs)
    _check_size(network, sum(map(len, images.values())), max_size)
    with beside(Path(out)) as root:
        return _make(root, opened, images, tuple(formats), seed, board, progress or (lambda done, total, what: None))


def integer_model(model: Any) -> IntegerModel:
    """The model itself, or what its path holds. Raises ValueError for a float model."""
    opened = npunet.load(model) if isinstance(model, (str, PathLike)) else model
    if not isinstance(opened, IntegerModel):
        raise ValueError(f"{opened!r} is a float network; npunet.quantize makes an integer one of it, or use "
                         "npunet.golden.golden for a bundle of floats")
    return opened


def _admitted(model: IntegerModel, inputs: np.ndarray) -> np.ndarray:
    sized, images = model.admit(inputs)
    if sized is not model.network or not len(images):
        raise ValueError(f"inputs have shape {np.shape(inputs)}; a bundle takes at least one sample of the network's "
                         f"own {model.input_shape}: cut or pad them")
    return images


def _check_size(network: Network, samples: int, max_size: int) -> None:
    """Refuse tensors that would take more room than allowed, before they are computed."""
    each = sum(int(np.prod(network.tensors[node.name].shape)) for node in network)
    size = samples * each * (18 if network.scheme == "int16x8" else 9)
    if size > max_size:
        raise ValueError(f"the tensors of {samples} samples take about {size / 1e6:.0f} MB, more than max_size = "
                         f"{max_size / 1e6:.0f} MB; choose fewer cases, or give --max-size {-(-size >> 20)}M")


def _make(root: Path, model: IntegerModel, images: dict[str, np.ndarray], formats: tuple[str, ...], seed: int,
          target: boards.Target | None, progress: Progress) -> dict[str, Any]:
    network, ids = model.network, layer_ids(model.network)
    title = (f"made by npunet; {network.name}, {len(network.nodes)} layers, {network.scheme}, "
             f"rounding {network.rounding}")
    records: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    first: dict[str, np.ndarray] = {}
    for number, (kind, x) in enumerate(images.items()):
        case = f"case{number:02d}_{kind}"
        progress(number, len(images), case)
        tensors = {"in": x}
        for stage in run_network(network, x):
            tensors |= {f"{ids[stage.node.name]}.{role}": values for role, values in stage.items()}
        places = write_case(root, f"{network.scheme}/{case}", tensors, formats)
        records += [tensor_record(case, key, value, places[key]) for key, value in tensors.items()]
        told.append({"id": case, "kind": kind, "samples": len(x), "tensors": list(tensors)})
        if "npz" in formats:
            _write_ends(root / "npz" / f"{case}.npz", model, x, tensors[f"{ids[network.output]}.out"])
        if "hex" in formats and not number:
            for key, value in tensors.items():
                write_text(root / "hex" / case / f"{key}.mem", readmemh(value, f"{case}/{key}"))
        first = first or tensors
    if "c" in formats:
        _write_c(root / "c", network, [case["id"] for case in told], first, title)
    (root / "model").mkdir()
    model.save(root / "model" / "model.npz")
    manifest = _manifest(network, formats, seed, told, records)
    write_text(root / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    write_text(root / "README.txt", readme(manifest))
    if target is not None:
        boards.write(root, target, manifest, network.tensors[network.input].dtype)
    write_sums(root)
    progress(len(images), len(images), "done")
    return manifest


def _write_ends(path: Path, model: IntegerModel, x: np.ndarray, y: np.ndarray) -> None:
    """Input and output as the user has them."""
    path.parent.mkdir(exist_ok=True)
    write_npz(path, {"input_0": x.reshape(len(x), *model.input_shape), "output_0": y.reshape(len(y),
                                                                                         *model.output_shape)})


def _write_c(folder: Path, network: Network, names: list[str], first: dict[str, np.ndarray], title: str) -> None:
    texts = cgen.sources(network, title)
    texts["golden_layers.h"] = headers.layers_header(network, title)
    texts["cases.txt"] = headers.case_list(network, network.scheme, names)
    arrays = headers.case_header(network, names[0], first, title)
    if arrays is not None:
        texts[f"golden_{names[0]}.h"] = arrays
    for name, text in texts.items():
        write_text(folder / name, text)


def _manifest(network: Network, formats: tuple[str, ...], seed: int, told: list[dict[str, Any]],
              records: list[dict[str, Any]]) -> dict[str, Any]:
    wide = network.scheme == "int16x8"
    return {
        "schema": SCHEMA, "generator": "npunet", "generator_version": npunet.__version__, "seed": seed,
        "formats": list(formats), "endianness": "little", "layout": "NHWC",
        "model": {"name": network.name, "scheme": network.scheme, "file": "model/model.npz",
                  "input_shape": list(network.input_shape), "output_shape": list(network.output_shape),
                  "input": quantisation(network, network.input), "output": quantisation(network, network.output),
                  "output_layer": layer_ids(network)[network.output]},
        "profile": {"requant": network.rounding, "requant_name": NAMES[network.rounding],
                    "requant_rule": ROUNDING_RULES[network.rounding], "requant_64_rule": RULE_64,
                    "accumulator_bits": 64 if wide else 32, "bias_bits": 64 if wide else 32,
                    "weights": "int8, per channel, symmetric", "padding": "the input's zero point"},
        "memory": cgen.memory(network), "layers": layer_records(network), "cases": told, "tensors": records,
        "mutation_score": None,
    }
