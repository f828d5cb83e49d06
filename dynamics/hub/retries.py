"""Retries of transient errors: rate limits, server errors, timeouts, broken connections."""

import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import parse_ratelimit_headers

from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub.names import redact
from dynamics.hub.waiting import TooSlow, reported

T = TypeVar("T")


class BadAnswer(ConnectionError):
    """An answer that is cut off, or contradicts an earlier one; the same request may succeed later."""


ATTEMPTS, STORE_ATTEMPTS = 6, 2
"""Of any call, and of a download that is too slow or whose store accepts no connection, which took its time already."""
FIRST_WAIT, LONGEST_WAIT, LONGEST_REQUESTED_WAIT = 1.0, 60.0, 600.0
_JITTER = random.SystemRandom()
TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_REFUSED_STATUS = {400, 401, 403, 410}
# by name, since huggingface_hub raises those of httpx or, in newer versions, of httpx2
_TRANSIENT_TRANSPORT = {"TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"}


def with_retries(
    call: Callable[[], T], what: str, *, attempts: int = ATTEMPTS, progress: Callable[[], str] | None = None
) -> T:
    """The result of a call, retried after transient errors.

    Waits as long as `Retry-After` or `RateLimit` request (up to 10 minutes), times a random factor from 1 to 1.25; if
    the server requests nothing, `min(60, 2^k)` seconds after attempt k (from 0), times a factor from 0.5 to 1. The
    factors keep many workers from retrying at the same time.

    Args:
        call: the call.
        what: its object, for messages.
        attempts: largest number of attempts.
        progress: how far the call is, for the line that is printed every 30 s.

    Raises:
        Unreachable: every attempt had a transient error; with the last one.
        CheckpointError: a permanent error.
    """
    attempt = 0
    with reported(what, progress) as wait:
        while True:
            attempt += 1
            try:
                return call()
            except CheckpointError:
                raise
            except Exception as error:
                if not is_transient(error):
                    raise CheckpointError(f"{what}: {first_line(error)}") from error
                if attempt >= attempts or (attempt >= STORE_ATTEMPTS and _is_dead_store(error)):
                    raise Unreachable(
                        f"{what}: {first_line(error)} ({attempt} attempts). "
                        "The Hub or the network fails; run again later"
                    ) from error
                seconds = wait_seconds(error, attempt - 1)
                wait.note = f"{first_line(error)}, attempt {attempt + 1} after {seconds:.0f} s"
            time.sleep(seconds)


def is_transient(error: BaseException) -> bool:
    """Whether an error is transient: the same request may succeed later."""
    root = _root(error)
    response = getattr(root, "response", None)
    if response is not None:
        return response.status_code in TRANSIENT_STATUS or is_expired_link(root)
    if isinstance(root, OSError) and "Consistency check failed" in str(root):
        return True
    kinds = {kind.__name__ for kind in type(root).__mro__}
    return bool(kinds & _TRANSIENT_TRANSPORT) or isinstance(root, (TimeoutError, ConnectionError))


def is_expired_link(error: BaseException) -> bool:
    """Whether the store of large files refuses a signed link, which expires; the Hub gives a new one.

    The Hub redirects to that store; a refusal of the Hub itself is final. Mirrors may serve both at one host, so the
    path tells: the Hub's own have `/resolve/` or `/api/`.
    """
    response = getattr(_root(error), "response", None)
    if response is None or response.status_code not in _REFUSED_STATUS:
        return False
    path = urlsplit(str(getattr(response, "url", "") or "")).path
    return bool(path) and not _is_of_the_hub(path)


def wait_seconds(error: BaseException, attempt: int) -> float:
    """Seconds to wait before the next attempt, with a random factor."""
    response = getattr(_root(error), "response", None)
    requested = None if response is None else requested_wait(response.headers)
    if requested is not None:
        return min(requested, LONGEST_REQUESTED_WAIT) * _JITTER.uniform(1.0, 1.25)
    return min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * _JITTER.uniform(0.5, 1.0)


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server requests to wait: `Retry-After` (seconds or a date), else an exhausted `RateLimit`."""
    after = {name.lower(): value for name, value in headers.items()}.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        try:
            return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            pass
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text, or what a refusal of the Hub means; without access tokens."""
    root = _root(error)
    if reason := _no_access(root):
        return reason
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return redact(lines[0] if lines else type(root).__name__)


def _is_dead_store(error: BaseException) -> bool:
    """Whether the store that the Hub redirects to accepts no connection, or is too slow."""
    if isinstance(_root(error), TooSlow):
        return True
    kinds = {kind.__name__ for kind in type(_root(error)).__mro__}
    path = urlsplit(str(getattr(getattr(_root(error), "_request", None), "url", ""))).path
    return bool(kinds & {"ConnectError", "ConnectTimeout"}) and bool(path) and not _is_of_the_hub(path)


def _is_of_the_hub(path: str) -> bool:
    return "/resolve/" in path or path.startswith("/api/")


def _no_access(error: BaseException) -> str | None:
    """What it means that the Hub does not show a repository; it answers 401 where there is none."""
    response = getattr(error, "response", None)
    status = None if response is None else response.status_code
    if isinstance(error, GatedRepoError):
        return f"{status}: it is gated; accept its terms on its page, and set HF_TOKEN_PATH"
    if isinstance(error, RepositoryNotFoundError) or (status == 401 and not is_expired_link(error)):
        return f"{status}: there is no such repository, or it is private; check the name, or set HF_TOKEN_PATH"
    return None


def is_no_repository(error: BaseException) -> bool:
    """Whether the Hub does not show a repository, as an error of `with_retries` tells."""
    return isinstance(error.__cause__, RepositoryNotFoundError) and not isinstance(error.__cause__, GatedRepoError)


def _root(error: BaseException) -> BaseException:
    """The network error behind an error, since huggingface_hub wraps it in LocalEntryNotFoundError."""
    while isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error
