"""What a file is that can't be decoded."""

from pathlib import Path


def what_else(path: Path) -> str:
    """What a file that can't be decoded appears to be, as a clause for a message."""
    with path.open("rb") as file:
        head = file.read(1024)
    start = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start[:512]:
        return "it is an HTML page, such as a server's error message, not audio"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; the audio itself was not downloaded"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "it is JSON, not audio"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "it is an archive; extract it first"
    if _is_text(head):
        return "it is a text file, not audio"
    if head[4:8] == b"ftyp":
        return (
            "it is an MP4 file whose index (moov) is missing or damaged: it was truncated or never finished"
        )
    return "it has no known audio format: the file is damaged or not audio"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
