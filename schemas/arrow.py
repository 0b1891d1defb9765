"""Arrow types and rows from typed records, so that one definition serves both Python and Parquet.

A record is a frozen dataclass whose fields are str, int, float, bool, another record, a tuple of
these, or an optional one of these. Types are explicit: a column that is entirely null in one file
and filled in the next has the same type in both.
"""

import dataclasses
import types
import typing
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

Record = TypeVar("Record")

Code = typing.NewType("Code", int)
"""An index into a codebook, below 32,768 and stored as int16."""

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    Code: pa.int16(),
}


@cache
def struct_of(record: type) -> pa.StructType:
    """The Arrow struct type of a record class."""
    hints = typing.get_type_hints(record)
    return pa.struct([pa.field(f.name, _type_of(hints[f.name])) for f in dataclasses.fields(record)])


def schema_of(record: type) -> pa.Schema:
    """The Arrow schema of a table with one record per row."""
    return pa.schema(list(struct_of(record)))


def to_row(value: Any) -> Any:
    """A record, or a tuple of records, as dicts and lists that Arrow accepts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_row(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        if value and type(value[0]) is int:  # codes: thousands per turn, for which a list is slow
            return np.asarray(value)
        return [to_row(item) for item in value]
    return value


def from_row(record: type[Record], row: dict[str, Any]) -> Record:
    """The record of a row: the inverse of `to_row`."""
    return typing.cast(Record, _value(record, row))


def table_of(record: type, values: typing.Iterable[Any]) -> pa.Table:
    """A table with one record per row."""
    return pa.Table.from_pylist([to_row(value) for value in values], schema=schema_of(record))


def _optional(hint: Any) -> Any:
    """X of `X | None`; any other hint unchanged."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"a record field must have one type, or be optional, not {hint}")
        return inner[0]
    return hint


def _type_of(hint: Any) -> pa.DataType:
    hint = _optional(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) is tuple:
        return pa.list_(_type_of(typing.get_args(hint)[0]))
    if dataclasses.is_dataclass(hint):
        return struct_of(typing.cast(type, hint))
    raise TypeError(f"a record field can't have the type {hint}")


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    hint = _optional(hint)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return tuple(value) if item in _SCALARS else tuple(_value(item, v) for v in value)
    if dataclasses.is_dataclass(hint):
        hints = _hints(typing.cast(type, hint))
        return hint(**{name: _value(hints[name], value.get(name)) for name in hints})  # type: ignore[operator]
    return value


@cache
def _hints(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {f.name: hints[f.name] for f in dataclasses.fields(record)}
