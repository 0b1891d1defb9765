"""Partitions are the folders below the inputs, on disk and in buckets."""

import os

import boto3
import pytest

from pipeline.inputs.partitions import Partition, partitions_of
from pipeline.storage.store import Store
from schemas.errors import SetupError

KEYS = ("calls/2026/07/a.wav", "calls/2026/08/b.wav", "calls/2026/08/more/c.wav", "meetings/2026/08/d.wav")


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_folders_of_several_inputs_are_joined_by_their_path(kind, request, tmp_path):
    uri = f"file://{tmp_path}/in" if kind == "file" else request.getfixturevalue("bucket")
    for key in (*KEYS, "calls/LICENCE.md", "calls/.hidden/e.wav"):
        Store(uri).put(key, b"x")
    if kind == "s3":  # as web consoles create folders
        s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        for folder in ("calls/", "calls/2026/"):
            s3.put_object(Bucket=uri.removeprefix("s3://"), Key=folder)
    calls, meetings = f"{uri}/calls", f"{uri}/meetings"
    assert partitions_of([calls, meetings], 2) == [
        Partition("2026-07", "2026/07", (f"{calls}/2026/07",)),
        Partition("2026-08", "2026/08", (f"{calls}/2026/08", f"{meetings}/2026/08")),
    ]
    assert [partition.name for partition in partitions_of([calls], 1)] == ["2026"]
    with pytest.raises(SetupError, match=r"calls/2026/07/a\.wav is in no partition"):
        partitions_of([calls], 3)


def test_an_input_that_is_no_folder_has_none(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(SetupError, match=r"partitions.folders: no folder is 1 below .*a\.wav"):
        partitions_of([str(tmp_path / "a.wav")], 1)
