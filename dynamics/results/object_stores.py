"""Object stores: paths of objects, clients, and messages for the clients' errors.

Credentials come from the environment of each process (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
`AWS_ENDPOINT_URL`, with boto3 `AWS_PROFILE`; `GOOGLE_APPLICATION_CREDENTIALS`, `STORAGE_EMULATOR_HOST`), as the stores'
own tools take them; they are neither stored nor passed on nor printed.
"""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any

import polars as pl
from pyarrow import fs

from dynamics.errors import StoreError, first_line

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE,",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_RETRIES, _CONNECT_SECONDS, _REQUEST_SECONDS = 3, 5, 30


@dataclass(frozen=True)
class ObjectPath:
    """The path of an object, `scheme://bucket/key`, with the methods of `Path` that apply."""

    scheme: str
    path: PurePosixPath

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.scheme, self.path / name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.stem

    @property
    def parent(self) -> "ObjectPath":
        """The folder of the object."""
        return ObjectPath(self.scheme, self.path.parent)

    def with_name(self, name: str) -> "ObjectPath":
        """The path of another object in the same folder."""
        return ObjectPath(self.scheme, self.path.with_name(name))


def filesystem(where: ObjectPath) -> fs.FileSystem:
    """The client of an object's store; one per process."""
    return _s3(_endpoint()) if where.scheme == "s3" else _gs(_emulator("gs"))


def _endpoint() -> str | None:
    """The address of an S3 other than Amazon's, if one is set."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _emulator(scheme: str) -> str | None:
    """The address of an emulator of Google's store, by the variable that Google's clients read, if one is set."""
    return os.environ.get("STORAGE_EMULATOR_HOST") or None if scheme == "gs" else None


@lru_cache
def _s3(endpoint: str | None) -> fs.FileSystem:
    """The S3 client of an endpoint; its timeouts are short, so that a wrong address is an error within seconds."""
    if os.environ.get("AWS_PROFILE") and find_spec("boto3") is None:
        raise StoreError("AWS_PROFILE needs boto3; pip install boto3, or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_RETRIES),
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        allow_delayed_open=True,  # a small file is one PUT
    )


@lru_cache
def _gs(emulator: str | None) -> fs.FileSystem:
    limit = timedelta(seconds=_REQUEST_SECONDS)
    if emulator is None:
        return fs.GcsFileSystem(retry_time_limit=limit)
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=host, retry_time_limit=limit)


def scan_options(where: ObjectPath) -> dict[str, Any]:
    """Arguments of Polars' scans that let it reach an object: the endpoint, region and keys of `filesystem`."""
    options: dict[str, Any] = {"max_retries": _RETRIES}
    if where.scheme == "s3":
        client = filesystem(where)
        assert isinstance(client, fs.S3FileSystem)
        options |= {"aws_region": client.region, "aws_allow_http": "true"}
        options |= {"aws_endpoint_url": endpoint} if (endpoint := _endpoint()) else {}
    if emulator := _emulator(where.scheme):
        options |= {"google_base_url": emulator, "google_skip_signature": "true"}
        return {"storage_options": options, "credential_provider": None}
    if where.scheme == "s3" and (profile := os.environ.get("AWS_PROFILE")):
        # without this, Polars uses the keys of the default profile
        return {"storage_options": options, "credential_provider": pl.CredentialProviderAWS(profile_name=profile)}
    return {"storage_options": options}


def explanation(where: ObjectPath, error: str) -> str:
    """The message, with a remedy, for an error of an object store or of the network on the way to it."""
    bucket, key = where.path.parts[0], CREDENTIALS[where.scheme]
    causes = {
        r"NO_?SUCH_?BUCKET|bucket does not exist": f": there is no bucket {bucket}; create it, or name another",
        r"NETWORK_CONNECTION|sending request": _unreachable(where),
        r"ACCESS_?DENIED|INVALID_?ACCESS|SIGNATURE|TOKEN|FORBIDDEN|PERMISSION|\b40[13]\b": (
            f": access is denied; set {key} in the environment of every node, of an account that may list, read and "
            f"write in {bucket}"
        ),
        r"REDIRECT|AUTHORIZATION_?HEADER|\b301\b": f": bucket {bucket} is in another region; set AWS_REGION",
        r"connect|resolve|timed? ?out|UNAVAILABLE|SLOW_?DOWN|\b50\d\b": _unreachable(where),
        "": f": {first_line(error)}; fix this, then resume",
    }
    return f"{where}{next(text for cause, text in causes.items() if re.search(cause, error, re.IGNORECASE))}"


def _unreachable(where: ObjectPath) -> str:
    without_credentials = re.sub(r"//.*@", "//", _endpoint() or "not set")
    endpoint = f" and AWS_ENDPOINT_URL ({without_credentials})" if where.scheme == "s3" else ""
    return f" cannot be reached; check the network{endpoint}, then resume"
