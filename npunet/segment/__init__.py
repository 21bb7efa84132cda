"""Trained networks with what they were trained for: a recording or an image in, its classes out."""

from npunet.segment.description import Segmenter

__all__ = ["Segmenter"]
