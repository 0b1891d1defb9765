"""Archives: listed as a folder, read by range, and one bad member at a time."""

import gzip
import io
import json
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from pipeline.inputs.inflated_file import InflatedFile
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.part import FilePart
from pipeline.inputs.recording_files import RecordingFiles
from pipeline.storage.store import Store
from schemas.errors import DataError
from tests.pipeline.inputs.formats.given import ONE, OTHER, fields, listed, seconds, turns, why

EMILIA = {"id": "EN_1", "text": "by some people", "speaker": "EN_S1", "language": "en", "dnsmos": 3.2}
MEMBERS = {
    "ann/EN_1.wav": ONE.read_bytes(),
    "ann/EN_1.json": json.dumps(EMILIA).encode(),
    "other.flac": OTHER.read_bytes(),
    "other.txt": b"plain words\n",
    "notes/read.md": b"# notes",
    "._other.flac": b"mac",
}


def tar(members=MEMBERS, mode="w"):
    """The bytes of a tar, with links where a member is a TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def zipped(members=MEMBERS, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


ARCHIVES = {
    "a.tar": tar,
    "a.tar.gz": lambda members=MEMBERS: tar(members, "w:gz"),
    "a.tgz": lambda members=MEMBERS: (
        gzip.compress(tar(members)[:50_000]) + gzip.compress(tar(members)[50_000:])
    ),
    "a.zip": zipped,
    "stored.zip": lambda members=MEMBERS: zipped(members, zipfile.ZIP_STORED),
}


@pytest.fixture(params=["file", "s3"])
def place(request, tmp_path):
    return str(tmp_path / "in") if request.param == "file" else f"{request.getfixturevalue('bucket')}/in"


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_listed_as_its_folder_would_be(place, name, tmp_path):
    store = Store(place)
    store.put_new(f"shards/{name}", ARCHIVES[name]())
    for entry in (place, f"{place}/shards", f"{place}/shards/{name}", f"{place}/**/*{name[-4:]}"):
        found = {id.removeprefix("shards/"): recording for id, recording in listed(entry).items()}
        assert list(found) == [f"{name}/ann/EN_1.wav", f"{name}/other.flac"]
    one, other = found.values()
    assert turns(one) == [(0, float("inf"), "EN_S1", "by some people")]
    assert fields(one) == EMILIA
    assert turns(other) == [(0, float("inf"), "somebody", "plain words")]
    assert fields(other) == {}
    assert one.bytes == len(MEMBERS["ann/EN_1.wav"])
    for recording, name in ((other, "other.flac"), (one, "ann/EN_1.wav"), (other, "other.flac")):
        with RecordingFiles().local(recording.uri, recording.etag, tmp_path) as path:
            assert path.read_bytes() == MEMBERS[name]
            assert path.suffix == Path(name).suffix
    assert seconds(one, tmp_path / "scratch") > 1
    assert not list(tmp_path.glob("aqaa-data-*")), "copies are deleted"


def test_files_beside_a_member_are_its_companions(tmp_path):
    rttm = b"SPEAKER talk 1 0 1 <NA> <NA> A <NA> <NA>\n"
    (tmp_path / "a.tar").write_bytes(
        tar({"talk.wav": b"1", "talk.rttm": rttm, "talk.json": b"{}", "x.srt": b""})
    )
    (root,) = list_inputs([str(tmp_path)]).roots
    assert root.strays_shown == ("a.tar/x.srt",)
    (talk,) = listed(tmp_path).values()
    assert turns(talk) == [(0, 1, "A", None)]
    assert [c.name for c in talk.companions if c.kind == "rttm"] == ["talk.rttm"]


def test_text_beside_fields_without_one_is_what_is_said(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar({"a.wav": b"1", "a.json": b'{"year": 1}', "a.txt": b"words"}))
    (talk,) = listed(tmp_path).values()
    assert turns(talk) == [(0, float("inf"), "somebody", "words")]
    assert fields(talk) == {"year": 1}


def test_the_archives_of_a_folder_with_recordings_may_be_of_these_and_are_left(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar())
    (tmp_path / "loose.wav").write_bytes(b"1")
    assert list(listed(tmp_path)) == ["loose.wav"]
    assert len(listed(tmp_path, tmp_path / "*.tar")) == 3


def test_a_changed_archive_is_a_changed_input(tmp_path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar())
    before = listed(archive)["a.tar/other.flac"]
    archive.write_bytes(tar({"first.wav": b"1"} | MEMBERS))
    after = listed(archive)["a.tar/other.flac"]
    assert before.etag != after.etag
    with (
        pytest.raises(DataError, match="has changed since it was listed"),
        RecordingFiles().local(before.uri, before.etag),
    ):
        pass


def test_addresses_hold_any_name():
    for name in (b"a b/\xff!1+2/#x?.wav", "ä/语音.wav".encode()):
        part = FilePart.of("tar", "s3://b/x!1+2/y.tar", (512, 7), name)
        assert FilePart.parse(part.uri) == part
    assert FilePart.parse("s3://b/x!1+2/y.tar") is None


# What is wrong in an archive is set aside by name


def link(name, target, type=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, target
    return info


def test_links_devices_and_paths_that_leave_a_tar_are_refused_by_name(tmp_path):
    members = {
        "good.wav": b"1",
        "link.wav": link("link.wav", "/etc/passwd"),
        "hard.wav": link("hard.wav", "good.wav", tarfile.LNKTYPE),
        "pipe.wav": link("pipe.wav", "", tarfile.FIFOTYPE),
        "../../up.wav": b"1",
        "/root.wav": b"1",
        "C:/drive.wav": b"1",
    }
    (tmp_path / "a.tar").write_bytes(tar(members))
    found = listed(tmp_path)
    assert found.pop("a.tar/good.wav").bytes == 1
    assert {id: why(r)[0] for id, r in found.items()} == {
        "a.tar/link.wav": "link",
        "a.tar/hard.wav": "link",
        "a.tar/pipe.wav": "not_a_file",
        "a.tar/up.wav": "leads_out",
        "a.tar/root.wav": "leads_out",
        "a.tar/C:/drive.wav": "leads_out",
    }


def test_links_encryption_and_paths_that_leave_a_zip_are_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.wav", b"1")
        archive.writestr("..\\up.wav", b"1")
        archive.writestr("packed.wav", b"1" * 99, zipfile.ZIP_LZMA)
        info = zipfile.ZipInfo("link.wav")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("silence.wav", bytes(200_000_000))
        archive.filelist[0].flag_bits |= 1
    found = listed(tmp_path)
    assert {id: why(r)[0] for id, r in found.items()} == {
        "a.zip/good.wav": "encrypted",
        "a.zip/up.wav": "leads_out",
        "a.zip/packed.wav": "compression",
        "a.zip/link.wav": "link",
        "a.zip/silence.wav": "bomb",
    }


def test_a_damaged_header_is_named_and_the_members_after_it_are_read(tmp_path):
    data = bytearray(tar({f"{n}.wav": bytes([n]) * 3000 for n in range(4)}))
    data[2 * (512 + 3072) + 10] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    found = listed(tmp_path)
    assert [id for id in found if "damaged" not in id] == ["a.tar/0.wav", "a.tar/1.wav", "a.tar/3.wav"]
    assert why(found["a.tar/(damaged at byte 7168)"])[0] == "damaged_member"


def test_a_truncated_tar_keeps_the_members_before_its_end(tmp_path):
    data = tar({f"{n}.wav": bytes([n]) * 3000 for n in range(3)})
    (tmp_path / "a.tar").write_bytes(data[: 2 * (512 + 3072) + 1000])
    found = listed(tmp_path)
    assert why(found.pop("a.tar/2.wav"))[0] == "truncated"
    assert list(found) == ["a.tar/0.wav", "a.tar/1.wav"]


@pytest.mark.parametrize(("damage", "code"), [("cut", "truncated"), ("flip", "damaged_gzip")])
def test_a_damaged_gzip_keeps_the_members_before_the_damage(tmp_path, damage, code):
    noise = bytes(ONE.read_bytes())[:60_000]
    data = bytearray(tar({f"{n}.wav": noise for n in range(20)}, "w:gz"))
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 :] = bytes(b ^ 0x5A for b in data[len(data) // 2 :])
    (tmp_path / "a.tar.gz").write_bytes(data)
    found = listed(tmp_path)
    (rest,) = [r for id, r in found.items() if "(the rest" in id]
    assert why(rest)[0] == code
    assert 3 < len(found) < 20
    with RecordingFiles().local(found["a.tar.gz/0.wav"].uri, found["a.tar.gz/0.wav"].etag) as path:
        assert path.read_bytes() == noise


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_a_file_that_is_no_archive_is_set_aside_and_the_others_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 100)
    (tmp_path / "b.tar").write_bytes(tar())
    found = listed(tmp_path)
    assert why(found[name])[0] == "damaged_archive"
    assert len(found) == 3


def test_a_damaged_member_of_a_zip_is_set_aside_when_it_is_read(tmp_path):
    data = bytearray(zipped({"a.wav": MEMBERS["other.flac"]}, zipfile.ZIP_STORED))
    data[5000] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    (a,) = listed(tmp_path).values()
    with pytest.raises(DataError, match="checksum"), RecordingFiles().local(a.uri, a.etag):
        pass


def test_the_size_that_a_zip_claims_is_not_believed(tmp_path):
    data = zipped({"a.wav": bytes(5_000_000)})
    claim = (5_000_000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data.replace(claim, (1000).to_bytes(4, "little")))
    (a,) = listed(tmp_path).values()
    assert a.bytes == 1000
    with pytest.raises(DataError, match="more than the 1,000 bytes"), RecordingFiles().local(a.uri, a.etag):
        pass


def test_a_gzip_that_inflates_without_measure_is_a_bomb():
    bomb = InflatedFile(io.BytesIO(gzip.compress(bytes(150_000_000))))
    with pytest.raises(DataError, match="over 200 times") as error:
        bomb.seek(149_000_000)
    assert error.value.code == "bomb"


def test_an_inflated_file_is_read_from_any_place():
    data = b"".join(zlib.crc32(n.to_bytes(4, "little")).to_bytes(4, "little") for n in range(1_000_000))
    packed = b"".join(gzip.compress(data[at : at + 1_500_000], 1) for at in range(0, len(data), 1_500_000))
    file = io.BufferedReader(InflatedFile(io.BytesIO(packed + bytes(600))))
    for at in (3_999_990, 0, 1_499_999, 2_000_000, 5):
        file.seek(at)
        assert file.read(100) == data[at : at + 100]
    assert file.seek(5_000_000) == len(data)
