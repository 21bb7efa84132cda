"""A trained network that knows how its input is prepared and what its classes are called."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from npunet.data.prepare import Preparation
from npunet.formats import kinds, model_file
from npunet.layer_values import LayerValues
from npunet.model import UNet, restored
from npunet.reading import Unreadable, json_object, parse_json, reading
from npunet.segment.images import VIEWS, image_logits, segment_images
from npunet.segment.signal import Progress, normalised, segment_signal
from npunet.segment.taught import Taught
from npunet.values import listed, refuse_unknown, text, words

COMMENT = 65_500  # bytes that a zip archive's comment holds


class Segmenter:
    """A UNet with a description of what it was trained for.

    network     : the UNet
    class_names : one a class
    preparation : of signals, None for images
    taught      : the subjects that it learnt from, None where nobody knows

    The description stands in the file as the archive's comment: JSON, which `unzip -z` shows.
    Raises ValueError where there are more or fewer names than classes.
    """

    def __init__(self, network: UNet, class_names: Sequence[str], preparation: Preparation | None,
                 taught: Taught | None = None) -> None:
        names = tuple(text("class_names", name) for name in listed("class_names", class_names))
        if network.num_classes is not None and len(names) != network.num_classes:
            raise ValueError(f"class_names has {len(names)} names, the network {network.num_classes} classes")
        self.network, self.class_names, self.preparation = network, names, preparation
        self.taught = taught

    def segment(self, signal: np.ndarray, fs: float, *, progress: Progress | None = None, **how: Any) -> np.ndarray:
        """The class of every sample of an ECG. `npunet predict` gives these very labels.

        signal : (L,) one lead or (leads, L), in any unit: each lead is judged by itself, whatever its amplitude;
                 NaN marks gaps, which are bridged by straight lines
        fs     : samples per second, 10 to 100,000
        how    : backend, arithmetic, threads of UNet.predict

        Each lead is resampled and band-passed as in training, and normalised by its standard deviation over the ten
        seconds around, so that an artefact does not hide the rest of a long recording. The network's logits are
        averaged over the phases of its strides, so that it does not matter where these happen to fall, and
        interpolated between its samples; then pauses within a wave and splinters are removed, see signal.tidied. Gaps
        and flat leads are class 0. A few samples get classes too, though nobody could tell there.
        Returns uint8 of the signal's shape and rate: 0 none, 1 P, 2 QRS, 3 T for the ECG model, see class_names. A
        network that takes several leads at once gives (L,) for all of them.
        Warns of leads that are flat or nothing but gaps. Raises ValueError for a signal or rate that is none of these.
        """
        return segment_signal(self.network, self._of_signals(), signal, fs, progress=progress, **how)[0]

    def segment_with_logits(self, signal: np.ndarray, fs: float, *, progress: Progress | None = None,
                            **how: Any) -> tuple[np.ndarray, np.ndarray]:
        """What segment returns, and what it takes the classes from: the network's output for every sample.

        Arguments as for segment. Returns the labels, and float32 (L, K) or (leads, L, K) at the signal's rate, NaN in
        gaps and flat leads. The likeliest class is the label but for the pauses and splinters that segment removes.
        """
        labels, logits = segment_signal(self.network, self._of_signals(), signal, fs, True, progress, **how)
        assert logits is not None
        return labels, logits

    def mask(self, images: np.ndarray, views: int = VIEWS, **how: Any) -> np.ndarray:
        """The class of every pixel of images. `npunet predict` gives these very labels.

        images : (B, H, W, C), each standardised as in training (data.images.standardise), any H and W
        views  : 1 for the images as they are; 8 for the mean of the logits over their quarter turns and mirror images,
                 which takes 8 times as long and follows borders better
        how    : backend, arithmetic, threads of UNet.predict

        Returns (B, H, W) uint8. Raises ValueError for a network of signals or another number of views.
        """
        return segment_images(self._of_images(), images, views, **how)

    def mask_logits(self, images: np.ndarray, views: int = VIEWS, **how: Any) -> np.ndarray:
        """What mask takes the classes from: the network's output (B, H, W, K), float32. Arguments as for mask."""
        return image_logits(self._of_images(), images, views, **how)

    def normalised(self, leads: np.ndarray, fs: float) -> np.ndarray:
        """Leads (leads, L) of any unit as the network takes them, (leads, L') float32; see signal.normalised."""
        return normalised(self._of_signals(), leads, fs)

    def _of_signals(self) -> Preparation:
        if self.preparation is None or len(self.network.input_shape) != 2:
            raise ValueError("this network is for images; segment is for signals")
        return self.preparation

    def _of_images(self) -> UNet:
        if len(self.network.input_shape) != 3:
            raise ValueError("this network is for signals; mask is for images")
        return self.network

    def predict(self, x: np.ndarray, **options: Any) -> np.ndarray:
        """The network's output for inputs that are prepared already; see UNet.predict."""
        return self.network.predict(x, **options)

    def trace(self, x: np.ndarray, **options: Any) -> LayerValues:
        """The network's own trace, on an input that is prepared already; see UNet.trace."""
        return self.network.trace(x, **options)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """What one sample of the network looks like: (L, C) or (H, W, C)."""
        return self.network.input_shape

    @property
    def num_classes(self) -> int | None:
        return self.network.num_classes

    def summary(self) -> str:
        """The network's layer table."""
        return self.network.summary()

    def release(self) -> None:
        """Let the network's engines go; see UNet.release."""
        self.network.release()

    def save(self, path: str | PathLike[str]) -> None:
        """Write network and description to one .npz, atomically; the same model gives the same bytes."""
        told: dict[str, Any] = {"class_names": self.class_names,
                                "preparation": None if self.preparation is None else self.preparation.to_dict()}
        if self.taught is not None:
            told["taught"] = self.taught.to_dict()
            if len(json.dumps(told)) > COMMENT:  # of thousands of subjects
                del told["taught"]
        told["crc32"] = zlib.crc32(json.dumps(told, sort_keys=True).encode())  # the archive checks no comment
        self.network.save(path, remark=json.dumps(told, sort_keys=True).encode())

    def export_tflite(self, path: str | PathLike[str]) -> None:
        """Write the network with its description as .tflite of float32; see UNet.export_tflite."""
        from npunet.integer_model import described

        self.network.export_tflite(path, metadata=described(self))

    @classmethod
    def load(cls, path: str | PathLike[str], *, allow_nonfinite: bool = False) -> Segmenter:
        """Read what save wrote, or a .tflite of float32 with the same description.

        Raises FileNotFoundError, ValueError when the file is no model with a description.
        """
        if kinds.is_tflite(path):
            return cls._of_tflite(path, allow_nonfinite)
        remark = model_file.remark(path)
        with model_file.opened(path) as (description, weights):
            if not remark:
                raise Unreadable(f"{path} is a model without a description of its preparation: it was saved by "
                                 "UNet.save, not by npunet train; npunet.load reads both")
            told = json_object(remark)
            refuse_unknown("the description", list(told), ["class_names", "preparation", "taught", "crc32"])
            crc = told.pop("crc32", None)  # which files of earlier versions have not
            if crc is not None and crc != zlib.crc32(json.dumps(told, sort_keys=True).encode()):
                raise ValueError("the CRC-32 of its description differs")
            prepared = None if told["preparation"] is None else Preparation.from_dict(told["preparation"])
            taught = Taught.from_dict(told["taught"]) if told.get("taught") else None
            network = restored(**description, weights=weights, allow_nonfinite=allow_nonfinite)
            return cls(network, told["class_names"], prepared, taught)

    @classmethod
    def _of_tflite(cls, path: str | PathLike[str], allow_nonfinite: bool) -> Segmenter:
        from npunet.formats import tflite

        found = tflite.read_float(path)
        network = restored(**found.description, weights=found.weights, aliases=found.aliases,
                           allow_nonfinite=allow_nonfinite)
        made = described_network(network, found.metadata, path)
        if isinstance(made, UNet):
            raise Unreadable(f"{path} is a network that does not say what its classes are and how its input was "
                             "prepared; npunet.load reads it")
        return made

    def __repr__(self) -> str:
        return f"Segmenter({self.network!r}, class_names={self.class_names})"


def described_network(network: UNet, metadata: Mapping[str, str], path: str | PathLike[str]) -> UNet | Segmenter:
    """A network, as a Segmenter where the texts beside it in a file say what its classes are called.

    Raises ValueError for texts that cannot be read.
    """
    from npunet.integer_model import CLASS_NAMES, PREPARATION  # which a plain network does not need

    if CLASS_NAMES not in metadata:
        return network
    with reading(path, "is a network whose description cannot be read"):
        names = words("the names", parse_json(metadata[CLASS_NAMES]))
        prepared = metadata.get(PREPARATION)
        return Segmenter(network, names, None if prepared is None else Preparation.from_dict(json_object(prepared)))
