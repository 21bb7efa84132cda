"""The forms in which tensors leave: npz, raw little-endian words, $readmemh text, C arrays of bit patterns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npunet import files
from npunet.files import pack_npz
from npunet.golden.manifest import canonical

FORMATS = ("npz", "bin", "c", "hex")
WORDS_A_LINE = 8


def check_formats(formats: tuple[str, ...]) -> None:
    """Raise ValueError for a format that does not exist, and for none."""
    if not formats:
        raise ValueError(f"there is no format to write; choose from {', '.join(FORMATS)}")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"there is no format {', '.join(map(repr, unknown))}; choose from {', '.join(FORMATS)}")


def write_case(root: Path, folder: str, tensors: Mapping[str, np.ndarray], formats: tuple[str, ...]) -> dict[str, dict]:
    """Write the tensors of one case as npz and bin; returns {key: {format: path}}."""
    places: dict[str, dict[str, str]] = {key: {} for key in tensors}
    if not tensors or not {"npz", "bin"} & set(formats):
        return places
    (root / folder).mkdir(parents=True, exist_ok=True)
    if "npz" in formats:
        path = f"{folder}/tensors.npz"
        with open(root / path, "wb") as file:  # not one by one to the disk: the bundle takes its place when it is whole
            pack_npz(file, {key: canonical(value) for key, value in tensors.items()})
        for place in places.values():
            place["npz"] = path
    if "bin" in formats:
        for key, value in tensors.items():
            places[key]["bin"] = f"{folder}/{key}.bin"
            (root / places[key]["bin"]).write_bytes(canonical(value).tobytes())
    return places


def readmemh(array: np.ndarray, title: str, layout: str = "NHWC", lanes: int = 1) -> str:
    """The array for $readmemh: words in two's complement or as the bits of a float, row-major, no prefix.

    A `//` header states what it is. lanes : words a line; the first is the lowest bits, so it stands rightmost, and the
    last line is filled up with zeros
    """
    bits = 8 * array.dtype.itemsize
    words = canonical(array).view(f"<u{array.dtype.itemsize}").ravel().tolist()
    shape = "x".join(map(str, array.shape))
    header = [f"// {title}", f"// {layout} {shape} {array.dtype.name}: {len(words)} words of {bits} bits, row-major"]
    if lanes > 1:
        header.append(f"// {lanes} words a line, the first in the lowest bits (rightmost)")
        words += [0] * (-len(words) % lanes)
    digits = f"0{bits // 4}x"
    rows = ("".join(format(word, digits) for word in words[start : start + lanes][::-1])
            for start in range(0, len(words), lanes))
    return "\n".join([*header, *rows]) + "\n"


def bit_patterns(array: np.ndarray, indent: str = "    ") -> str:
    """The float32 bits of an array as C constants, eight to a line."""
    words = [f"0x{word:08x}u" for word in canonical(array).view("<u4").ravel().tolist()]
    lines = (", ".join(words[start : start + WORDS_A_LINE]) for start in range(0, len(words), WORDS_A_LINE))
    return ",\n".join(indent + line for line in lines)


def hex_floats(array: np.ndarray, indent: str = "    ") -> str:
    """The values of a float32 array as C99 hexadecimal constants, exact, four to a line.

    Raises ValueError for NaN and infinities.
    """
    if not np.isfinite(array).all():
        raise ValueError("a weight is NaN or infinite and cannot be written as a C constant; mend the weights")
    words = [f"{short_hex(value)}f" for value in array.ravel().tolist()]
    lines = (", ".join(words[start : start + 4]) for start in range(0, len(words), 4))
    return ",\n".join(indent + line for line in lines)


def short_hex(value: float) -> str:
    """A float's hexadecimal form without trailing zeros: 0x1.8p-3."""
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").removesuffix(".")
    return f"{mantissa}p{exponent}"


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8 with plain line feeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def replace_manifest(root: Path, text: str) -> None:
    """Write a bundle's manifest anew, and its line of SHA256SUMS; no other file becomes the bundle's by that."""
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    lines = (root / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = [f"{digest if line[66:] == 'manifest.json' else line[:64]}  {line[66:]}\n" for line in lines]
    files.write_text(root / "manifest.json", text)
    files.write_text(root / "SHA256SUMS", "".join(sums))


def write_sums(root: Path) -> None:
    """Write SHA256SUMS over every other file, in the form of `sha256sum -c`.

    A .gitattributes comes with it: git leaves line ends alone then, which it would change on Windows.
    """
    write_text(root / ".gitattributes", "* -text\n")
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((root / path).read_bytes()).hexdigest()}  {path}\n" for path in paths
             if path != "SHA256SUMS"]
    write_text(root / "SHA256SUMS", "".join(lines))
