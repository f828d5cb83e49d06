"""Joining Ray: the cluster that RAY_ADDRESS names, or a local one that asks for a token and ends with the sweep."""

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
"""How long a named cluster may take to answer; Ray itself would try for minutes, without a word."""
_NAMES = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


@contextmanager
def joined() -> Iterator[None]:
    """A Ray to run tasks on, until the block ends; one that was joined before is left as it is.

    Raises:
        PlanError: the named cluster does not answer or cannot be joined, or a token of the Hub is in the runtime_env.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else each worker builds an environment of its own
    check_no_tokens(json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("runtime_env"))
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray  # here, because importing and starting it takes seconds that a finished sweep need not pay

    ours = not ray.is_initialized()
    if ours and address:
        _connect(address)
    elif ours:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
        # `local`, because Ray would else join whichever cluster was started last on this machine, by anyone
        ray.init(address="local", include_dashboard=False, dashboard_host="127.0.0.1", **quiet)
    try:
        check_no_tokens(ray.get_runtime_context().runtime_env)
        yield
    finally:
        if ours:
            ray.shutdown()


def check_no_tokens(runtime_env: Mapping[str, Any] | None) -> None:
    """Refuse a token of the Hub in a runtime_env, where `ray job list`, the REST API and a log show it.

    Raises:
        PlanError: naming the variable, never its value.
    """
    for name, value in ((runtime_env or {}).get("env_vars") or {}).items():
        if name in _NAMES or re.search(r"\bhf_[A-Za-z0-9]{8,}", str(value)):
            raise PlanError(
                f"{name} is in the job's runtime_env, where everyone who can list jobs reads it; set it in the "
                "environment of the nodes, or put the token in a file and set HF_TOKEN_PATH. Revoke this one"
            )


def _connect(address: str) -> None:
    """Join a named cluster, and say so first: what follows can take seconds."""
    import ray
    from ray.exceptions import RayError

    if address.startswith("http"):
        raise PlanError(f"RAY_ADDRESS={address} is the address for `ray job submit`, not for joining. {_REMEDY}")
    typer.echo(f"joining Ray at RAY_ADDRESS={address}")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        _wait_for_answer(host.strip("[]"), int(port), address)
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise PlanError(f"RAY_ADDRESS={address}: {first_line(error)}. {_REMEDY}") from error


_REMEDY = "Start that cluster, name another (host:6379 of its head), or unset RAY_ADDRESS to use this machine"


def _wait_for_answer(host: str, port: int, address: str) -> None:
    """Refuse an address where nothing, or nothing that speaks gRPC, answers in time."""
    import grpc

    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            pass
        if os.environ.get("RAY_USE_TLS") not in {"1", "true"}:
            with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
    except (OSError, grpc.FutureTimeoutError) as error:
        said = str(error) or f"nothing that speaks Ray's protocol answered in {CONNECT_SECONDS:.0f} s"
        raise PlanError(f"no Ray answers at RAY_ADDRESS={address} ({said}). {_REMEDY}") from error
