"""Arrays indexed by the members of an IntEnum, for versions of Numba that cannot do it by themselves."""

from __future__ import annotations

import operator

import numba
from numba.core import types
from numba.extending import overload

KNOWN_FROM = (0, 68)


def is_field(array: types.Type, index: types.Type) -> bool:
    return isinstance(array, types.Array) and isinstance(index, types.IntEnumMember)


def teach_enums() -> None:
    """Let compiled code read and write array[member] where Numba does not know how."""
    if tuple(map(int, numba.__version__.split(".")[:2])) >= KNOWN_FROM:
        return

    @overload(operator.getitem)
    def read(array, index):
        return (lambda array, index: array[index.value]) if is_field(array, index) else None

    @overload(operator.setitem)
    def write(array, index, value):
        def to_place(array, index, value):
            array[index.value] = value

        return to_place if is_field(array, index) else None
