"""Names of recordings in other tools: file names, and fields of formats without white space."""

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from pipeline.versions.reader import batches
from schemas.turn import recording_key

NameForm = Literal["path", "stem"]
"""`path`: the whole path with `/` replaced by `__`; `stem`: the file name without folders and extension."""

_LONGEST = 240
"""Maximum bytes of a file name; file systems allow 255 including the extension."""


class RecordingNames:
    """The name of each recording of a version; those that would have the same name get a hash as well."""

    def __init__(self, turns: ds.Dataset, form: NameForm) -> None:
        self._form = form
        # 8 bytes for each recording: names are compared by their hash.
        hashes = np.fromiter((_hash(file_name(id, form)) for id in _recordings(turns)), np.uint64)
        values, counts = np.unique(hashes, return_counts=True)
        self._shared: NDArray[np.uint64] = values[counts > 1]

    def __call__(self, recording: str) -> str:
        unique = bool(np.isin(_hash(file_name(recording, self._form)), self._shared))
        return file_name(recording, self._form, unique)


def file_name(recording: str, form: NameForm = "path", unique: bool = False) -> str:
    """The file name of a recording, without extension; `unique` adds a hash to tell equal names apart."""
    name = recording.replace("/", "__") if form == "path" else _stem(recording)
    if not unique and len(name.encode()) <= _LONGEST:
        return name
    return name.encode()[: _LONGEST - 17].decode(errors="ignore") + "-" + recording_key(recording)


def _stem(recording: str) -> str:
    name = recording.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def field(text: str) -> str:
    """Text as one field of RTTM, STM, CTM or Kaldi: without white space, quotes, `;` and a first `#`."""
    return re.sub(r"[\s\";\x00-\x1f\x7f]+|^#", "_", text) or "_"


def _hash(name: str) -> np.uint64:
    return np.uint64(int(recording_key(name), 16))


def _recordings(turns: ds.Dataset) -> Iterator[str]:
    """Every recording once; the table is sorted by recording."""
    last = None
    for batch in batches(turns, ["recording"]):
        for recording in pc.run_end_encode(batch["recording"]).values.to_pylist():
            if recording != last:
                yield recording
            last = recording
