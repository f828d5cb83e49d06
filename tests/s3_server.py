"""A local S3: moto's, behind a wrapper that counts requests and spoils those that tests name."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrEXAMPLE", "AWS_REGION": "us-east-1"}


@dataclass
class LocalS3:
    """What was asked of the server, and what it shall refuse.

    Attributes:
        endpoint: its address.
        requests: (method, path, Range header) of every request.
        keys: access keys that requests were signed with.
        refuse: answers a request (method, path) with a status and an S3 error code; None lets it through.
    """

    endpoint: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    refuse: Callable[[str, str], tuple[int, str] | None] = lambda _method, _path: None

    def bucket(self) -> str:
        """A new bucket's name; it is made."""
        import boto3

        name = f"bucket-{uuid4().hex[:8]}"
        client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=name)
        return name

    def count(self, method: str, pattern: str) -> int:
        """How many requests there were of a method whose path matches."""
        return sum(m == method and re.search(pattern, path) is not None for m, path, _ in self.requests)


@contextmanager
def serve_s3() -> Iterator[LocalS3]:
    """Run the server on a free port of the loopback interface."""
    pytest.importorskip("moto")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app, local = DomainDispatcherApplication(create_backend_app), LocalS3()

    def spoiled(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        local.requests.append((method, path, environ.get("HTTP_RANGE", "")))
        local.keys.update(re.findall(r"Credential=(\w+)", environ.get("HTTP_AUTHORIZATION", "")))
        if (refusal := local.refuse(method, path)) is None:
            return app(environ, start)
        status, code = refusal
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status} {code}", [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>".encode()]

    server = make_server("127.0.0.1", 0, spoiled, threaded=True)
    local.endpoint = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def environment_of(local: LocalS3) -> Iterator[LocalS3]:
    """This process's environment as a user of that S3 has it, and nothing of the machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", local.endpoint)
        yield local
