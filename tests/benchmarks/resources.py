"""Peak memory of a process and its descendants, from /proc."""

import threading
from pathlib import Path


class PeakMemory:
    """Samples the proportional resident memory of this process and its descendants while open."""

    def __init__(self, every: float = 0.5) -> None:
        self.every = every
        self.total = 0
        """Peak bytes of all processes together."""
        self.largest = 0
        """Peak bytes of a single process."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.every):
            sizes = [_bytes(pid) for pid in _descendants()]
            self.total = max(self.total, sum(sizes))
            self.largest = max([self.largest, *sizes])


def _descendants() -> list[int]:
    import os

    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    # Daemons of a cluster detach from their parent, so processes of this session count, too.
    descendants, session = {os.getpid()}, os.getsid(0)
    for pid in sorted(parents):
        try:
            if parents[pid] in descendants or os.getsid(pid) == session:
                descendants.add(pid)
        except ProcessLookupError:
            continue
    return sorted(descendants)


def _bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
