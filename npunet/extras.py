"""Optional packages: imported where they are used, and named with their extra when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

PURPOSES = {
    "plot": "plotting",
    "keras": "reading and writing Keras files",
    "safetensors": "reading and writing safetensors files",
    "ecg": "reading WFDB signals in FLAC",
    "image": "reading images",
    "onnx": "writing ONNX files",
    "tflite": "reading and writing .tflite files",
    "distributed": "running on many machines",
    "parquet": "writing Parquet tables",
}
PACKAGES = {"PIL": "pillow"}  # modules that are installed under another name


class MissingExtra(ImportError):
    """A package that an optional part of npunet needs is not installed."""


def extra(module: str, name: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    module : module to import, dotted for a submodule ("matplotlib.figure")
    name   : the extra of npunet that installs it, a key of PURPOSES

    Raises MissingExtra when the package is not there; an error inside an installed package passes through.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        installed = PACKAGES.get(package, package)
        raise MissingExtra(f"{PURPOSES[name]} needs {installed}: pip install 'npunet[{name}]'") from None


def scipy_signal() -> ModuleType:
    """scipy.signal, a plain dependency of npunet that a bare installation may lack. Raises MissingExtra without it."""
    try:
        return importlib.import_module("scipy.signal")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "scipy":
            raise
        raise MissingExtra("filtering and resampling need scipy: pip install scipy") from None
