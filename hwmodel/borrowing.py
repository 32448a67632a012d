"""Arrays without the owner that their references are counted with, for compiled code that makes arrays besides.

Such a function counts a reference to each array of a named tuple wherever it hands the tuple on: sixty atomic
operations a call for a network's table, and threads that read one table wait for each other's. Without an owner there
is nothing to count.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

T = TypeVar("T")

_make_array: Any = arrayobj.make_array  # numba's own modules are not typed
_null: Any = cgutils.get_null_value


def _codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _without_owner(context, builder, signature.args[0], arguments[0])


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = _make_array(kind)(context, builder, value=value)
        array.meminfo = _null(array.meminfo.type)
        array.parent = _null(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for place, member in enumerate(cast(Any, kind).types):
            inner = _without_owner(context, builder, member, builder.extract_value(value, place))
            value = builder.insert_value(value, inner, place)
    return value


def _borrowed(typing_context: Any, value: Any) -> Any:
    return value(value), _codegen


def _itself(value: T) -> T:
    return value


class _Borrow(Protocol):
    def __call__(self, value: T, /) -> T: ...


_make: Any = intrinsic  # its stub takes what it makes for the function that it is made of
borrowed: _Borrow = _itself if cast(Any, numba.config).DISABLE_JIT else _make(_borrowed)
"""The same array or (named) tuple of arrays, in compiled code only, without owners. For arguments of a function that is
called from Python or with what was borrowed there: whoever called keeps them alive. Must not be returned."""
