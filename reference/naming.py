"""Layer names: the PyPI release writes ENC1.D1.conv, npunet ENC1_D1_conv, but both ENC1_D1.bn for the norms."""

from __future__ import annotations

import re


def underscored(layer: str) -> str:
    """Our name of a Keras layer: every dot becomes an underscore, but for the one before bn or ln."""
    return re.sub(r"\.(?!(bn|ln)$)", "_", layer)
