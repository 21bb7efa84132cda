"""Whether a bundle's manifest is whole, and which of its layers are meant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from npunet.damage import told
from npunet.golden.names import unknown
from npunet.golden.reader import Bundle, inside
from npunet.values import words


def check_sums(bundle: Bundle) -> None:
    """Raise ValueError unless the manifest and the model are the files that SHA256SUMS lists.

    Tensors are checked when they are read; here each of their files must be there, and be inside of the bundle.
    """
    model = bundle.manifest["model"]
    listed = read_sums(bundle.root)
    try:
        for name in ("manifest.json", *(model[key] for key in ("graph", "weights", "file") if key in model)):
            if hashlib.sha256((bundle.root / name).read_bytes()).hexdigest() != listed.get(name):
                raise ValueError(f"{bundle.root}/{name} is not the file that SHA256SUMS lists; make the bundle again")
    except OSError as error:
        raise ValueError(f"cannot check {bundle.root} against SHA256SUMS: {name}: {told(error)}") from None
    _check_files(bundle)


def read_sums(root: Path) -> dict[str, str]:
    """SHA-256 by path, as SHA256SUMS lists them. Raises ValueError when it cannot be read."""
    try:
        lines = (root / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot check {root} against SHA256SUMS: {told(error)}") from None
    return {line[66:]: line[:64] for line in lines}


def checked_files(bundle: Bundle, folder: str) -> dict[str, bytes]:
    """The bytes of every file in a folder of the bundle, each checked against SHA256SUMS.

    Raises ValueError when one was changed, is missing, was added, or is no plain file.
    """
    check_sums(bundle)
    return listed_files(bundle.root, folder)


def listed_files(root: Path, folder: str, also: Iterable[str] = ()) -> dict[str, bytes]:
    """The same of the folder of a bundle of any kind, and of some files elsewhere in it."""
    sums, wanted = read_sums(root), set(also)
    listed = {path: digest for path, digest in sums.items() if path.startswith(f"{folder}/") or path in wanted}
    there = {path.relative_to(root).as_posix() for path in (root / folder).rglob("*")
             if path.is_symlink() or not path.is_dir()}
    strange = sorted((there | wanted) - set(listed))
    if strange:
        raise ValueError(f"{root}/{strange[0]} is not among the files that SHA256SUMS lists; it is not run: work on a "
                         "copy outside of the bundle, or make the bundle again")
    files = {}
    for path, digest in sorted(listed.items()):
        try:
            files[path] = inside(root, path).read_bytes()
        except OSError as error:
            raise ValueError(f"{root} lacks the file {path} that SHA256SUMS lists: {error.strerror}") from None
        if hashlib.sha256(files[path]).hexdigest() != digest:
            raise ValueError(f"{root}/{path} is not the file that SHA256SUMS lists; it is not run: work on a copy "
                             "outside of the bundle, or make the bundle again")
    return files


def _check_files(bundle: Bundle) -> None:
    """Raise ValueError for a tensor's file that is not there, or that a link leads out of the bundle."""
    names = {name for record in bundle.tensors.values() for name in record["files"].values()}
    split = [name.split("/") for name in names]
    folders = {"/".join(parts[:depth]) for parts in split for depth in range(1, len(parts))}
    linked = any(os.path.islink(f"{bundle.root}/{folder}") for folder in folders)
    for name in sorted(names):
        path = f"{bundle.root}/{name}"
        if linked or os.path.islink(path):
            bundle.inside(name)
        if not os.path.isfile(path):
            raise ValueError(f"{bundle.root} lacks the file {name} that its manifest lists; make the bundle again")


def asked_for(bundle: Bundle, layers: Iterable[str] | None) -> set[str]:
    """Ids of the layers that a user names by id or name; all without. Raises ValueError for unknown ones."""
    if layers is None:
        return set(bundle.layers)
    by_name = {layer["name"]: key for key, layer in bundle.layers.items()}
    asked = {by_name.get(layer, layer) for layer in words("layers", layers)}
    if not asked:
        raise ValueError("there is no layer to check: layers= (--layers) is empty")
    if asked - set(bundle.layers):
        raise ValueError(unknown("layer", asked - set(bundle.layers), [*by_name, *bundle.layers]))
    return asked
