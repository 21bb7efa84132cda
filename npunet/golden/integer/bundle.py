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
from npunet.formats import is_integer as holds_integers
from npunet.golden import boards
from npunet.golden.integer import cases, cgen, headers
from npunet.golden.integer.corners import layer_inputs
from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.readme import readme
from npunet.golden.integer.records import ROUNDING_RULES, RULE_64, SCHEMA, layer_records, quantisation, tensor_record
from npunet.golden.integer.stages import run_network, stages
from npunet.golden.manifest import canonical
from npunet.golden.place import beside
from npunet.golden.writers import FORMATS, check_formats, readmemh, write_case, write_sums, write_text
from npunet.integer.network import Network
from npunet.integer_model import IntegerModel
from npunet.values import natural, words

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
    kinds    : from cases.KINDS; all by default, "layers" (each layer alone on its corner cases) among them
    formats  : of "npz", "bin", "c", "hex"
    seed     : of the random case
    max_size : bytes of all tensors, in one format; cases of single layers as long as there is room, small ones first
    target   : a processor of boards.TARGETS: c/board/ is what a board with it needs to run every case
    progress : called as progress(done, total, what)

    Returns the manifest. Raises ValueError for a float model and for arguments that do not fit, FileExistsError for a
    folder in use.
    """
    opened = integer_model(model)
    chosen = cases.KINDS if kinds is None else words("cases", kinds)
    formats, seed, max_size = words("formats", formats), natural("seed", seed), natural("max_size", max_size)
    if chosen or inputs is None:
        cases.check_kinds(chosen)
    check_formats(formats)
    board = None if target is None else boards.target_called(target)
    if board is not None:
        boards.check(board, formats)
    network = opened.network
    images = {kind: cases.network_input(kind, network, seed) for kind in chosen if kind in cases.NETWORK_CASES}
    if inputs is not None:
        images["input"] = _admitted(opened, inputs)
    room = max_size - _size(network, sum(map(len, images.values())), max_size)
    with beside(Path(out)) as root:
        maker = _Maker(root, opened, formats, seed, board, progress or (lambda done, total, what: None))
        return maker.make(images, room if "layers" in chosen else 0)


def integer_model(model: Any) -> IntegerModel:
    """The model itself, or what its path holds. Raises ValueError for a float model."""
    opened = npunet.load(model) if isinstance(model, (str, PathLike)) else model
    if not isinstance(opened, IntegerModel):
        raise ValueError(f"{opened!r} is a float network; npunet.quantize makes an integer one of it, or use "
                         "npunet.golden.golden for a bundle of floats")
    return opened


def is_integer(model: Any) -> bool:
    """Whether a model, or what a path holds, is an integer network; a preset's name and a file that is none are not."""
    if not isinstance(model, (str, PathLike)):
        return isinstance(model, IntegerModel)
    return Path(model).is_file() and holds_integers(model)


def refuse_for_integers(**given: bool) -> None:
    """Refuse options that mean nothing for integers; which of them were given, by name."""
    wrong = [f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} is for float networks; integers are exact and have one order: leave it "
                         "out")


def _admitted(model: IntegerModel, inputs: np.ndarray) -> np.ndarray:
    sized, images = model.admit(inputs)
    if sized is not model.network or not len(images):
        raise ValueError(f"inputs have shape {np.shape(inputs)}; a bundle takes at least one sample of the network's "
                         f"own {model.input_shape}: cut or pad them")
    return images


def _size(network: Network, samples: int, max_size: int) -> int:
    """Bytes of the network cases' tensors. Raises ValueError, before they are computed, for more than allowed."""
    each = sum(int(np.prod(network.tensors[node.name].shape)) for node in network)
    size = samples * each * (18 if network.scheme == "int16x8" else 9)
    if size > max_size:
        raise ValueError(f"the tensors of {samples} samples take about {size / 1e6:.0f} MB, more than max_size = "
                         f"{max_size / 1e6:.0f} MB; choose fewer cases, or give --max-size {-(-size >> 20)}M")
    return size


class _Maker:
    """One bundle while it is made; see golden_integer for the arguments."""

    def __init__(self, root: Path, model: IntegerModel, formats: tuple[str, ...], seed: int,
                 target: boards.Target | None, progress: Progress) -> None:
        self.root, self.model, self.network, self.formats, self.seed = root, model, model.network, formats, seed
        self.target, self.progress, self.ids = target, progress, layer_ids(model.network)
        self.layers = {record["id"]: record for record in layer_records(self.network)}
        self.cases: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.first: dict[str, np.ndarray] = {}

    def make(self, images: dict[str, np.ndarray], room: int) -> dict[str, Any]:
        """Run every case and write every file; returns the manifest.

        images : inputs of the network cases by kind
        room   : bytes for the cases of single layers
        """
        total = len(images) + len(self.layers) * (room > 0)
        for number, (kind, x) in enumerate(images.items()):
            self.progress(number, total, kind)
            self._network_case(f"case{number:02d}_{kind}", kind, x)
        left_out = self._layer_cases(room, len(images), total) if room else []
        alone = {case["id"] for case in self.cases if case["scope"] == "layer"}
        title = (f"made by npunet; {self.network.name}, {len(self.network.nodes)} layers, {self.network.scheme}, "
                 f"rounding {self.network.rounding}")
        if "c" in self.formats:
            named = [case["id"] for case in self.cases if case["scope"] == "network"]
            _write_c(self.root / "c", self.network, named, self.first, alone, title)
        (self.root / "model").mkdir()
        self.model.save(self.root / "model" / "model.npz")
        arrays = [array for node in self.network for array in node.arrays.values()]
        (self.root / "model" / "weights.bin").write_bytes(b"".join(canonical(array).tobytes() for array in arrays))
        manifest = _manifest(self.network, self.formats, self.seed, self.cases, self.tensors, alone, left_out)
        write_text(self.root / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        write_text(self.root / "README.txt", readme(manifest))
        if self.target is not None:
            boards.write(self.root, self.target, manifest, self.network.tensors[self.network.input].dtype)
        write_sums(self.root)
        self.progress(total, total, "done")
        return manifest

    def _network_case(self, case: str, kind: str, x: np.ndarray) -> None:
        tensors = {"in": x}
        for stage in run_network(self.network, x):
            tensors |= {f"{self.ids[stage.node.name]}.{role}": values for role, values in stage.items()}
        self._write(case, "network", kind, len(x), tensors)
        if "npz" in self.formats:
            output = tensors[f"{self.ids[self.network.output]}.out"]
            _write_ends(self.root / "npz" / f"{case}.npz", self.model, x, output)
        self.first = self.first or tensors

    def _layer_cases(self, room: int, done: int, total: int) -> list[str]:
        """Every layer alone, the small ones first; returns the ids of those for which there was no room."""
        sizes = {name: int(np.prod(tensor.shape)) for name, tensor in self.network.tensors.items()}
        left_out = []
        for number, node in enumerate(sorted(self.network, key=lambda node: sizes[node.name]), done):
            layer = self.ids[node.name]
            self.progress(number, total, layer)
            inputs = layer_inputs(node, self.network, self.seed)
            tensors = {f"{layer}.in{k}": x for k, x in enumerate(inputs)}
            tensors |= {f"{layer}.{role}": values for role, values in stages(node, inputs, self.network).items()}
            room -= sum(value.nbytes for value in tensors.values())
            if room < 0:
                left_out.append(layer)
                continue
            self._write(layer, "layer", node.op, len(inputs[0]), tensors)
        return left_out

    def _write(self, case: str, scope: str, kind: str, samples: int, tensors: dict[str, np.ndarray]) -> None:
        """One case's files and records; the first network case and every layer's also as $readmemh."""
        places = write_case(self.root, f"{self.network.scheme}/{case}", tensors, self.formats)
        if "hex" in self.formats and (scope == "layer" or not self.cases):
            for key, value in tensors.items():
                places[key]["hex"] = f"hex/{case}/{key}.mem"
                write_text(self.root / places[key]["hex"], readmemh(value, f"{case}/{key}"))
        by_id = {self.ids[node.name]: node.name for node in self.network}
        for key, value in tensors.items():
            layer, _, role = key.rpartition(".")
            read = self.network[by_id[layer]].inputs if layer else ()
            meant = read[int(role[2:])] if role.startswith("in") and layer else by_id.get(layer, self.network.input)
            self.tensors.append(tensor_record(case, key, value, self.layers.get(layer),
                                              quantisation(self.network, meant), places[key]))
        self.cases.append({"id": case, "scope": scope, "kind": kind, "precision": self.network.scheme,
                           "samples": samples, "stored": "full", "folder": f"{self.network.scheme}/{case}",
                           "tensors": list(tensors)})


def _write_ends(path: Path, model: IntegerModel, x: np.ndarray, y: np.ndarray) -> None:
    """Input and output as the user has them."""
    path.parent.mkdir(exist_ok=True)
    write_npz(path, {"input_0": x.reshape(len(x), *model.input_shape), "output_0": y.reshape(len(y),
                                                                                         *model.output_shape)})


def _write_c(folder: Path, network: Network, names: list[str], first: dict[str, np.ndarray], alone: set[str],
             title: str) -> None:
    """names : of the network cases; first : tensors of the first of them; alone : layers with a case of their own."""
    texts = cgen.sources(network, title)
    texts["golden_layers.h"] = headers.layers_header(network, title)
    texts["cases.txt"] = headers.case_list(network, network.scheme, names, alone)
    arrays = headers.case_header(names[0], first, title) if names else None
    if arrays is not None:
        texts[f"golden_{names[0]}.h"] = arrays
    for name, text in texts.items():
        write_text(folder / name, text)


def _manifest(network: Network, formats: tuple[str, ...], seed: int, told: list[dict[str, Any]],
              records: list[dict[str, Any]], alone: set[str], left_out: list[str]) -> dict[str, Any]:
    wide = network.scheme == "int16x8"
    return {
        "schema": SCHEMA, "generator": "npunet", "generator_version": npunet.__version__, "seed": seed,
        "formats": list(formats), "endianness": "little", "layout": "NHWC",
        "model": {"name": network.name, "scheme": network.scheme, "file": "model/model.npz",
                  "raw_weights": "model/weights.bin",
                  "input_shape": list(network.input_shape), "output_shape": list(network.output_shape),
                  "input_quantisation": quantisation(network, network.input),
                  "output_quantisation": quantisation(network, network.output),
                  "output": layer_ids(network)[network.output]},
        "profile": {"requant": network.rounding, "requant_name": NAMES[network.rounding],
                    "requant_rule": ROUNDING_RULES[network.rounding], "requant_64_rule": RULE_64,
                    "accumulator_bits": 64 if wide else 32, "bias_bits": 64 if wide else 32,
                    "weights": "int8, per channel, symmetric", "padding": "the input's zero point"},
        "memory": cgen.memory(network), "layers": layer_records(network, alone), "cases": told, "tensors": records,
        "left_out": left_out, "cannot_see": [], "mutation_score": None,
    }
