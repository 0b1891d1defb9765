"""Reading .npy arrays of one dimension, as shards hold them, in any number of threads.

numpy parses their headers with `ast`, which fails now and then where several threads do so at once
(https://github.com/python/cpython/issues/106905).
"""

import re
from typing import Any, BinaryIO

import numpy as np

from schemas.errors import SetupError

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '([^']+)', 'fortran_order': \w+, 'shape': \((\d+),\), \} *\n")


def elements_ahead(file: BinaryIO, name: str, dtype: np.dtype[Any]) -> int:
    """Number of elements of an array; leaves the file at the first of them.

    Raises SetupError if the member `name` is not an array of one dimension and this type.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise SetupError(f"{name} is not a .npy file of version 1.0")
    header = file.read(int.from_bytes(file.read(2), "little"))
    found = _HEADER.fullmatch(header)
    if found is None or found[1].decode() != dtype.str:
        raise SetupError(
            f"{name} holds {header.decode(errors='replace').strip()}, not {dtype} of one dimension"
        )
    return int(found[2])
