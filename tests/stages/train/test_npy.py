import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SetupError
from stages.train.npy import elements_ahead


def stored(array):
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    return file


@given(st.integers(0, 3000), st.sampled_from([np.int32, np.uint8]))
def test_the_file_is_left_at_the_first_of_the_elements(count, type):
    array = np.arange(count).astype(type)
    file = stored(array)
    assert elements_ahead(file, "a.npy", array.dtype) == count
    assert np.array_equal(np.frombuffer(file.read(), type), array)


def test_any_number_of_threads_read_at_once():
    counts = [*range(2000)] * 4
    with ThreadPoolExecutor(8) as pool:
        files = [stored(np.zeros(count, np.int32)) for count in counts]
        read = pool.map(lambda file: elements_ahead(file, "a.npy", np.dtype(np.int32)), files)
        assert list(read) == counts


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "a.npy holds .*<f8.*not int32 of one dimension"),
        (np.zeros((2, 2), np.int32), r"a.npy holds .*\(2, 2\).*not int32 of one dimension"),
    ],
)
def test_other_arrays_are_refused(array, message):
    with pytest.raises(SetupError, match=message):
        elements_ahead(stored(array), "a.npy", np.dtype(np.int32))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x93NUMPY\x02\x00" + bytes(20)])
def test_other_files_are_refused(content):
    with pytest.raises(SetupError, match=r"a.npy is not a .npy file of version 1.0"):
        elements_ahead(io.BytesIO(content), "a.npy", np.dtype(np.int32))
