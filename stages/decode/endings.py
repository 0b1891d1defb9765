"""Whether a file was cut off: it ends within a packet or a box, or lacks the mark of its end."""

from typing import Any

from stages.decode.headers import Readable

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = (44_100, 48_000, 32_000)


def lacks_end_mark(file: Readable) -> bool:
    """Whether an Ogg file lacks its end-of-stream page: its header declares no duration to compare with."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**17))
    tail = file.read(2**17)
    last = tail.rfind(b"OggS")
    return last < 0 or not tail[last + 5 : last + 6] or not tail[last + 5] & 4


def ends_within_element(file: Readable) -> bool:
    """Whether a Matroska file ends within one of the elements that it consists of."""
    total = file.seek(0, 2)
    at = 0
    while at < total:
        file.seek(at)
        head = file.read(12)
        if not head[0]:
            return False  # not an element: the rest is unreadable, which isn't the same as missing
        id_bytes = 9 - head[0].bit_length()
        if len(head) <= id_bytes or not head[id_bytes]:
            return True
        size_bytes = 9 - head[id_bytes].bit_length()
        id, content = int.from_bytes(head[:id_bytes]), at + id_bytes + size_bytes
        size = int.from_bytes(head[id_bytes : id_bytes + size_bytes]) & ((1 << 7 * size_bytes) - 1)
        if id == _SEGMENT or (id == _CLUSTER and size == (1 << 7 * size_bytes) - 1):  # of unknown size
            at = content
        else:
            at = content + size
    return at > total


def mp3_frame_bytes(head: bytes) -> int | None:
    """Length of the MPEG layer III frame that begins with these bytes; None for anything else."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbps in (0, 15) or rate == 3:
        return None
    if version == 3:
        return 144_000 * _MPEG1_KBPS[kbps] // _MPEG_RATES[rate] + (head[2] >> 1 & 1)
    hertz = _MPEG_RATES[rate] // (2 if version == 2 else 4)
    return 72_000 * _MPEG2_KBPS[kbps] // hertz + (head[2] >> 1 & 1)


def ends_within_packet(packet: Any, codec: str, block: int) -> bool:
    """Whether the last packet of a stream, PyAV's, is incomplete; `block` is the bytes of a PCM sample."""
    if codec.startswith("pcm_"):
        return bool(packet.size % block)
    if codec.startswith("mp3"):
        length = mp3_frame_bytes(bytes(packet)[:4])
        return length is not None and packet.size < length
    return bool(packet.is_corrupt)
