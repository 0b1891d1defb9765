"""A Step-1 decoder that is larger than one GPU, to answer with: processes of this machine hold parts of it.

This process has no weights. Its readers tell all processes what to do, and get the logits from the first.
"""

import multiprocessing
import signal
import socket
import weakref
from collections.abc import Sequence
from itertools import count
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from schemas.errors import SetupError
from stages.train.cache import Reader
from stages.train.checkpoint import checked_names, is_step1, read_shape
from stages.train.model import Step1
from stages.train.model_part import Place, run_part
from stages.train.weights import SafetensorsFolder


class SplitStep1(Step1):
    """On the meta device: only its shape and its readers can be used."""

    processes: "PartProcesses"


def open_split(directory: Path, parts: int, device: str, dtype: torch.dtype) -> SplitStep1:
    """Divide the model of a folder among as many processes, each with a GPU of its own if `device` is "cuda".

    They end with this process or with the model. Raises SetupError if it can't be divided.
    """
    if not is_step1(directory):
        raise SetupError(f"{directory}: --tensor-parallel divides only Step-1 decoders: leave it out")
    shape = read_shape(directory)
    if size := shape.undivided_by(parts):
        raise SetupError(f"{directory}: --tensor-parallel {parts} does not divide the model's {size}")
    gpus = torch.cuda.device_count()
    if device == "cuda" and gpus < parts:
        raise SetupError(f"--tensor-parallel {parts} needs as many GPUs, and this machine has {gpus}")
    with torch.device("meta"):
        model = SplitStep1(shape)
    checked_names(model, SafetensorsFolder(directory))
    model.processes = PartProcesses(directory, parts, device, dtype)
    return model


class PartProcesses:
    """The processes that hold the parts."""

    def __init__(self, directory: Path, parts: int, device: str, dtype: torch.dtype) -> None:
        """Returns when they have loaded the model; raises SetupError if they can't."""
        bound = socket.create_server(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        self._store = TCPStore(
            "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=bound.detach()
        )
        self._numbers = count()
        self._dropped: list[int] = []
        self._failure: str | None = None
        self._connections: list[Connection] = []
        self._processes = []
        spawning = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # which unblocks SIGINT
        # Ctrl-C reaches all processes of a terminal, and is answered by this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            for part in range(parts):
                own = torch.device(device, part) if device == "cuda" else torch.device(device)
                place = Place(directory, part, parts, own, dtype, port)
                here, there = spawning.Pipe()
                process = spawning.Process(target=run_part, args=(place, there), daemon=True)
                process.start()
                there.close()  # so that the end of the process is the end of the connection
                self._connections.append(here)
                self._processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._receive()

    @property
    def failure(self) -> str | None:
        """Why no more answers can be had."""
        if self._failure is None and not all(process.is_alive() for process in self._processes):
            self._failure = self._explained()
        return self._failure

    def create(self, owner: object, method: str, *arguments: int) -> int:
        """Create something in all processes, by a method of `PartReaders`, that lives as long as its owner
        here. Returns its number."""
        number = next(self._numbers)
        self.tell(method, number, *arguments)
        # Only noted, since an owner may end at any moment, also in the middle of a command.
        weakref.finalize(owner, self._dropped.append, number)
        return number

    def tell(self, method: str, *arguments: Any) -> None:
        """Have all processes call a method of `PartReaders`. Raises SetupError if any has failed."""
        while self._dropped:
            self._send("drop", self._dropped.pop())
        self._send(method, *arguments)

    def ask(self, method: str, *arguments: Any) -> Tensor:
        """The same of a method that returns logits."""
        self.tell(method, *arguments)
        return torch.from_numpy(self._receive())

    def _send(self, method: str, *arguments: Any) -> None:
        if self._failure is not None:
            raise SetupError(self._failure)
        for number, connection in enumerate(self._connections, 1):
            try:
                connection.send((method, arguments))
            except OSError:
                self._fail(number)

    def _receive(self) -> Any:
        """What the first process sends. Raises SetupError as soon as any fails."""
        ready = wait(self._connections)
        # The others only send failures.
        number = max(n for n, connection in enumerate(self._connections, 1) if connection in ready)
        try:
            message = self._connections[number - 1].recv()
        except (EOFError, OSError):
            self._fail(number)
        if isinstance(message, str):
            self._fail(number, message)
        return message

    def _fail(self, number: int, reason: str = "it ended") -> NoReturn:
        self._processes[number - 1].join(1)
        self._failure = self._explained(f"process {number}", reason)
        for process in self._processes:
            process.kill()
        raise SetupError(self._failure)

    def _explained(self, which: str = "one", reason: str = "it ended") -> str:
        """What to tell of a failure. A process that was killed is the reason that others fail."""
        codes = [process.exitcode or 0 for process in self._processes]
        if (code := min(codes)) < 0:
            which = f"process {codes.index(code) + 1}"
            reason = f"signal {-code} ended it" + (", perhaps for want of memory" if code == -9 else "")
        return f"{which} of the {len(codes)} that hold the model failed: {reason}; start the command again"


class SplitReader:
    """A `Step1Reader` of a model in parts."""

    def __init__(self, processes: PartProcesses, source: "SplitReader | None" = None) -> None:
        self._processes = processes
        made = ("create",) if source is None else ("copy", source.number)
        self.number: int = processes.create(self, *made)

    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_V of the id after these ids and all that were read before."""
        return self._processes.ask("read", self.number, list(ids))

    def copy(self) -> "SplitReader":
        return SplitReader(self._processes, self)


class SplitBatchReader:
    """A `BatchReader` of a model in parts."""

    def __init__(self, processes: PartProcesses, rows: int) -> None:
        self._processes = processes
        self._number = processes.create(self, "create_batch", rows)

    def join(self, reader: Reader) -> None:
        self._processes.tell("join", self._number, cast(SplitReader, reader).number)

    def leave(self, row: int) -> None:
        self._processes.tell("leave", self._number, row)

    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_BV of the ids after these, one for each row."""
        return self._processes.ask("read_batch", self._number, list(ids))
