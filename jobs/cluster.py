"""Connection to Ray: a cluster named by RAY_ADDRESS, or a local one that requires a token and ends with the sweep."""

import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from dynamics.errors import PlanError, first_line

CONNECT_SECONDS = 20.0
"""How long a named cluster may take to answer; Ray itself would try for minutes without a message."""
SOCKET_BYTES = 107
"""Length of a socket's path that Linux allows."""
_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
_TOKEN_VARIABLES = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


@contextmanager
def joined() -> Iterator[None]:
    """A connection to Ray until the block ends; an earlier connection of this process is used and kept.

    Raises:
        PlanError: the named cluster does not answer or cannot be joined, a token of the Hub is in the runtime_env, or
            a local Ray has no folder for its sockets.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # otherwise each worker builds its own environment
    check_no_tokens(json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("runtime_env"))
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray  # here, because importing and starting it takes seconds that a finished sweep need not pay

    is_new = not ray.is_initialized()
    if is_new and address:
        _connect(address)
    elif is_new:
        check_temporary_folder(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
        quiet: dict[str, Any] = {"logging_level": logging.WARNING}
        # `local`, because Ray would otherwise join the cluster that anyone started last on this machine
        ray.init(address="local", include_dashboard=False, dashboard_host="127.0.0.1", **quiet)
    try:
        check_no_tokens(ray.get_runtime_context().runtime_env)
        yield
    finally:
        if is_new:
            ray.shutdown()


def check_temporary_folder(folder: str) -> None:
    """Check that a local Ray can put its sockets in a folder for temporary files: its path is ASCII, and short.

    Raises:
        PlanError: it is not.
    """
    cause = None if folder.isascii() else "is not ASCII"
    if len(folder.encode()) > SOCKET_BYTES - len(_SOCKET):
        cause = f"has {len(folder.encode())} bytes, more than {SOCKET_BYTES - len(_SOCKET)}"
    if cause:
        raise PlanError(
            f"the path of the folder for temporary files, {folder}, {cause}, and Ray cannot put its sockets there; set "
            "RAY_TMPDIR to another folder, such as /tmp, or give --executor inline"
        )


def check_no_tokens(runtime_env: Mapping[str, Any] | None) -> None:
    """Check that no token of the Hub is in a runtime_env, where `ray job list`, the REST API and a log show it.

    Raises:
        PlanError: naming the variable, never its value.
    """
    for name, value in ((runtime_env or {}).get("env_vars") or {}).items():
        if name in _TOKEN_VARIABLES or re.search(r"\bhf_[A-Za-z0-9]{8,}", str(value)):
            raise PlanError(
                f"{name} is in the job's runtime_env, where everyone who can list jobs reads it; set it in the "
                "environment of the nodes, or put the token in a file and set HF_TOKEN_PATH. Revoke this one"
            )


def _connect(address: str) -> None:
    """Join a named cluster, with a message first, since it can take seconds."""
    import ray
    from ray.exceptions import RayError

    if address.startswith("http"):
        raise PlanError(f"RAY_ADDRESS={address} is the address for `ray job submit`, not for joining. {_REMEDY}")
    typer.echo(f"joining Ray at RAY_ADDRESS={address}")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        _wait_for_answer(host.strip("[]"), int(port), address)
    try:
        ray.init(address=address)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise PlanError(f"RAY_ADDRESS={address}: {first_line(error)}. {_REMEDY}") from error


_REMEDY = "Start that cluster, name another (host:6379 of its head), or unset RAY_ADDRESS to use this machine"


def _wait_for_answer(host: str, port: int, address: str) -> None:
    """Wait for an answer in gRPC at an address.

    Raises:
        PlanError: nothing answers in time.
    """
    import grpc

    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            pass
        if os.environ.get("RAY_USE_TLS") not in {"1", "true"}:
            with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
    except (OSError, grpc.FutureTimeoutError) as error:
        reason = str(error) or f"nothing that speaks Ray's protocol answered in {CONNECT_SECONDS:.0f} s"
        raise PlanError(f"no Ray answers at RAY_ADDRESS={address} ({reason}). {_REMEDY}") from error
