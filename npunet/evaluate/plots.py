"""Pictures of what a network says: a signal with its segments shaded, an image under its mask.

SVG and image PNG are written here, without any other package; a signal as PNG is drawn by matplotlib.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from npunet.evaluate.signal_layout import GRID, INK, SignalPicture, colour, envelope, segments
from npunet.evaluate.signal_layout import MAX_ROWS as MAX_ROWS
from npunet.evaluate.signal_layout import UNMARKED as UNMARKED
from npunet.evaluate.signal_layout import signal_picture as signal_picture
from npunet.evaluate.signal_svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, head, legend, signal_svg
from npunet.extras import extra
from npunet.files import atomic_write, write_text

ON_IMAGES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#F0E442", "#0072B2")  # stand out from grey


def save_signal(path: str | os.PathLike[str], picture: SignalPicture) -> None:
    """Draw a signal picture into an .svg or, with matplotlib, a .png file. Raises ValueError for other suffixes."""
    if suffix(path) == ".svg":
        write_text(path, signal_svg(picture))
    else:
        _signal_png(path, picture)


def _signal_png(path: str | os.PathLike[str], picture: SignalPicture) -> None:
    figure = extra("matplotlib.figure", "plot").Figure(figsize=(12, 1.1 + 0.9 * max(len(picture.rows), 2)), dpi=120)
    axes = figure.subplots(len(picture.rows), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.0})[:, 0]
    for axis, row in zip(axes, picture.rows, strict=True):
        positions, values = envelope(row.values, 4000)
        axis.plot(positions + 0.5, values, color=INK, linewidth=0.9)
        for start, stop, label in segments(row.labels):
            axis.axvspan(start, stop, color=colour(label), alpha=0.24, linewidth=0)
        for start, stop, label in [] if row.reference is None else segments(row.reference):
            axis.axvspan(start, stop, ymax=0.08, color=colour(label), linewidth=0)
        name = "\n".join([row.name, *picture.begins(row)])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontweight="bold", labelpad=22)
        axis.set(xlim=(0, picture.span), yticks=row.heights(2), xticks=[at for at, _ in picture.ticks])
        axis.set_yticklabels([f"{value:.6g}" for value in row.heights(2)], fontsize=7, color="#555555")
        axis.grid(axis="x", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.margins(y=0.14)
        axis.spines[:].set_color(GRID)
        axis.tick_params(length=0)
    axes[-1].set_xticklabels([text for _, text in picture.ticks])
    axes[-1].set_xlabel(picture.axis)
    patch = extra("matplotlib.patches", "plot").Patch
    used = list(enumerate(picture.class_names))[1:]
    inches = figure.get_figheight()
    names = max(axis.yaxis.label.get_window_extent().width for axis in axes) / figure.dpi
    left = max(1.0, names + 0.7) / figure.get_figwidth()                     # room for the names and their values
    figure.legend(handles=[patch(color=colour(label), alpha=0.5, label=name) for label, name in used],
                  loc="upper right", bbox_to_anchor=(0.985, 1 - 0.1 / inches), ncols=max(len(used), 1), frameon=False)
    figure.text(left, 1 - 0.30 / inches, picture.title, fontsize=12, fontweight="bold")
    unit = f"; values in {picture.unit}" if picture.unit else ""
    figure.text(left, 1 - 0.52 / inches, picture.legend + unit, fontsize=9, color="#555555")
    figure.subplots_adjust(left=left, right=0.985, top=1 - 0.62 / inches, bottom=0.5 / inches)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def save_mask(path: str | os.PathLike[str], images: np.ndarray, labels: np.ndarray, *, title: str,
              class_names: Sequence[str]) -> None:
    """Draw images beside themselves under their masks, as .png (pixels alone) or .svg (with title and legend).

    images : (B, H, W, C) with 1 or 3 channels, any scale; each is stretched to its own 0.2 to 99.8 % range
    labels : (B, H, W) predicted class of each pixel

    Raises ValueError for other suffixes.
    """
    panels = [mask_panels(image, mask) for image, mask in zip(images[:4], labels[:4], strict=True)]
    gap = np.full((12, panels[0].shape[1], 3), 255, np.uint8)
    pixels = np.concatenate([part for panel in panels for part in (panel, gap)][:-1])
    if suffix(path) == ".png":
        with atomic_write(path) as file:
            file.write(png(pixels))
        return
    height, width = pixels.shape[:2]
    scale = (WIDTH - LEFT - RIGHT) / width
    parts = [*head(WIDTH, TOP + round(height * scale) + BOTTOM, title),
             *legend(class_names, "left: the image; right: under the predicted mask", ON_IMAGES)]
    parts.append(f'<image x="{LEFT}" y="{TOP}" width="{width * scale:.1f}" height="{height * scale:.1f}" '
                 f'href="data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"/>')
    write_text(path, "\n".join([*parts, "</svg>", ""]))


def mask_panels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One image (H, W, C) and, to its right, the same under its mask (H, W), as RGB bytes; small ones enlarged."""
    low, high = np.percentile(image, (0.2, 99.8))
    grey = np.clip((image - low) / ((high - low) or 1), 0, 1) * 255
    plain = np.repeat(grey, 3, axis=-1) if grey.shape[-1] == 1 else grey[..., :3]
    factor = max(1, 512 // max(labels.shape))
    plain, labels = (np.repeat(np.repeat(array, factor, 0), factor, 1) for array in (plain, labels))
    padded = np.pad(labels, 1, mode="edge")
    rim = (padded[1:-1, 2:] != labels) | (padded[2:, 1:-1] != labels)        # to the right or below
    rim |= (padded[1:-1, :-2] != labels) | (padded[:-2, 1:-1] != labels)     # to the left or above
    tint = np.array([[0, 0, 0], *(_rgb(colour(label, ON_IMAGES)) for label in range(1, int(labels.max()) + 1))])[labels]
    weight = np.where(labels > 0, np.where(rim, 1.0, 0.3), 0.0)[..., None]
    covered = plain * (1 - weight) + tint * weight
    gap = np.full((len(labels), 12, 3), 255.0)
    return np.concatenate([plain, gap, covered], axis=1).round().astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """RGB bytes (H, W, 3) as a PNG file. Source: PNG specification, third edition, W3C 2025."""
    H, W, _ = pixels.shape
    lines = np.concatenate([np.zeros((H, 1), np.uint8), pixels.reshape(H, 3 * W)], axis=1)  # filter 0 leads each line
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines.tobytes())),
              (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data
                                           + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a picture's file, ".png" or ".svg". Raises ValueError for any other."""
    found = os.path.splitext(path)[1].lower()
    if found not in (".png", ".svg"):
        raise ValueError(f"cannot draw a picture into {os.fspath(path)}: the suffix must be .png or .svg")
    return found
