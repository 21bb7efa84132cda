"""How engine functions are compiled.

error_model numpy: no branch for a division by zero. fastmath never: the order of every sum is the declared one.
No reference counts: every array is somebody else's memory, so the machine code needs nothing of Numba's runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from npunet.engine.codegen.enums import teach_enums
from npunet.engine.runtime.object_code import ObjectCode

teach_enums()
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "_nrt": False}

jit = njit(**OPTIONS)
# Copied into its caller by Numba: LLVM then sees the code once, not once at every level of calls.
inlined = njit(inline="always", **OPTIONS)


def compile_entry(function: Callable[..., None], parameters: Sequence[Any]) -> ObjectCode:
    """The object code of a function that reads its arguments from a block of int64; see native.Call.

    parameters : Numba types, arrays and int64
    """
    result = compiled(function, parameters)
    return ObjectCode(result.library._get_compiled_object(), result.fndesc.llvm_func_name,
                      result.library.codegen._tm.triple)


def module_of(function: Callable[..., None], parameters: Sequence[Any]) -> str:
    """The LLVM module that compile_entry makes, as text."""
    return compiled(function, parameters).library.get_llvm_str()


def compiled(function: Callable[..., None], parameters: Sequence[Any]) -> Any:
    """Numba's result for the function as compile_entry describes it."""
    unpack = make_unpack(parameters)

    def entry(block):
        function(*unpack(block))

    signature = (types.CPointer(types.int64),)
    bare: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}
    dispatcher: Any = njit(**bare)(entry)
    dispatcher.compile(types.void(*signature))
    return dispatcher.overloads[signature]


def make_unpack(parameters: Sequence[Any]):
    """The tuple of arguments that a block of int64 stands for."""

    def generate(context, builder, signature, arguments):
        place = 0

        def take():
            nonlocal place
            at = builder.gep(arguments[0], [context.get_constant(types.intp, place)])
            place += 1
            return builder.load(at)

        values = []
        for parameter in parameters:
            if isinstance(parameter, types.Array):
                address = take()
                values.append(array_at(context, builder, parameter, address, [take() for _ in range(parameter.ndim)]))
            else:
                values.append(take())
        return context.make_tuple(builder, signature.return_type, values)

    @intrinsic
    def unpack(typing, block):
        return types.Tuple(tuple(parameters))(block), generate

    return unpack


def array_at(context: Any, builder: Any, kind: types.Array, address: Any, shape: Sequence[Any]) -> Any:
    """An array over memory that somebody else owns."""
    array = make_array(kind)(context, builder)
    size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [size]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(array, builder.inttoptr(address, array.data.type), shape, strides, size, None)
    return array._getvalue()
