"""Local object storage: a real S3 server, and a proxy in front of it that injects faults."""

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

KEY, SECRET = "test-key-id", "test-secret-that-nobody-may-read"
READER, READER_SECRET = "reader-key-id", "reader-secret-that-nobody-may-read"


def access(endpoint: str) -> dict[str, str]:
    """Environment variables with which stores have all permissions of a server, and ask no cloud for any."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass(frozen=True)
class Server:
    """SeaweedFS; `KEY` has all permissions, `READER` can only read."""

    endpoint: str

    def bucket(self, name: str) -> str:
        """URI of a new bucket."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def client(self) -> Any:
        """A boto3 client with all permissions, for tests that bypass our own storage code."""
        import boto3

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """A server on free ports of this machine, with all its data in a folder."""
    ports = _free_ports(8)
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    every = [name + kind for name in names for kind in ("", ".grpc")]
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    _identity("all", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
                    _identity("reader", READER, READER_SECRET, ["Read", "List"]),
                ]
            }
        )
    )
    (folder / "data").mkdir()
    command = [str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={config}"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=2000", "-s3.autoCreateBucket=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in zip(every, ports, strict=True)]
    log = (folder / "log").open("wb")
    # Start a bucket with one volume, not seven.
    environment = os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    server = Server(f"http://127.0.0.1:{ports[every.index('s3.port')]}")
    try:
        _wait_for(server, process, folder / "log")
        yield server
    finally:
        process.kill()  # the data is not needed any more
        process.wait()
        log.close()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(server: Server, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            server.bucket("ready")
            server.client().put_object(Bucket="ready", Key="probe", Body=b"")
            return
        except Exception:  # not up yet: refused, or without a volume to write to
            time.sleep(0.3)
    raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of its normal response."""

    status: int = 0
    """Returned immediately, without forwarding the request; 0: the request is forwarded."""
    reset: str = ""
    """When the connection is reset: `before` the server is asked, `after` it has processed the request, or in
    the `middle` of the response body."""
    delay: float = 0.0
    """Seconds before the request is handled."""


@dataclass
class Proxy:
    """A proxy in front of a server that injects the faults of `fault`, and records all requests."""

    endpoint: str
    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    """(method, path with query) -> the fault, if any."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    """Bytes of response bodies that were returned."""


def first(times: int, fault: Fault, method: str = "", path: str = "") -> Callable[[str, str], Fault | None]:
    """A fault for the first `times` requests of a method whose path contains a text."""
    lock = threading.Lock()
    left = [times]

    def choose(request_method: str, request_path: str) -> Fault | None:
        if not request_method.startswith(method) or path not in request_path:
            return None
        with lock:
            left[0] -= 1
            return fault if left[0] >= 0 else None

    return choose


@contextmanager
def faulty(server: Server) -> Iterator[Proxy]:
    """A proxy on a real socket in front of a server."""
    proxy = Proxy("")
    upstream = urlsplit(server.endpoint).netloc
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                proxy.seen.append((self.command, self.path))
            fault = proxy.fault(self.command, self.path) or Fault()
            time.sleep(fault.delay)
            if fault.reset == "before":
                self._reset()
            elif fault.status:
                self._respond(fault.status, [], _error(fault.status))
            else:
                self._forward(body, fault)

        def _forward(self, body: bytes, fault: Fault) -> None:
            # The request is forwarded unchanged, including the host: its signature covers both.
            connection = http.client.HTTPConnection(upstream, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            content = response.read()
            if fault.reset == "after":
                self._reset()
                return
            kept = [(n, v) for n, v in response.getheaders() if n.lower() != "transfer-encoding"]
            self._respond(response.status, kept, content, cut=fault.reset == "middle")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815

        def _respond(
            self, status: int, headers: list[tuple[str, str]], body: bytes, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if cut:
                self.wfile.write(body[: len(body) // 2])
                self._reset()
            elif self.command != "HEAD":
                self.wfile.write(body)
                proxy.sent += len(body)

        def _reset(self) -> None:
            """End the connection with a TCP reset, like a load balancer that dies."""
            self.close_connection = True
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def finish(self) -> None:
            with suppress(OSError, ValueError):  # the connection may be gone already
                super().finish()

        def log_message(self, *_args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_args: Any) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()


def _error(status: int) -> bytes:
    code = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}.get(status, "Error")
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
