"""Whether a bundle's manifest is whole, and which of its layers are meant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from npunet.golden.reader import Bundle


def check_sums(bundle: Bundle) -> None:
    """Raise ValueError unless manifest.json is the file that SHA256SUMS lists; other files are checked when read."""
    path = bundle.root / "SHA256SUMS"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        listed = {line[66:]: line[:64] for line in lines}
        found = hashlib.sha256((bundle.root / "manifest.json").read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot check {bundle.root} against SHA256SUMS: {error}") from None
    if listed.get("manifest.json") != found:
        raise ValueError(f"{bundle.root}/manifest.json is not the file that SHA256SUMS lists; make the bundle again")


def asked_for(bundle: Bundle, layers: Iterable[str] | None) -> set[str]:
    """Ids of the layers that a user names by id or name; all without. Raises ValueError for unknown ones."""
    if layers is None:
        return set(bundle.layers)
    by_name = {layer["name"]: key for key, layer in bundle.layers.items()}
    asked = {by_name.get(layer, layer) for layer in layers}
    unknown = sorted(asked - set(bundle.layers))
    if unknown or not asked:
        raise ValueError(
            f"the bundle has no layer {', '.join(unknown) or 'to check'}; its layers are {', '.join(bundle.layers)}"
        )
    return asked
