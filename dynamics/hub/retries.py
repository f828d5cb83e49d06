"""Try again what may pass: rate limits, server errors, timeouts, broken transports."""

import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import parse_ratelimit_headers

from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub.names import redact

T = TypeVar("T")
ATTEMPTS = 6
FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED = 1.0, 60.0, 600.0
_JITTER = random.SystemRandom()
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
# by name: they are httpx's or, as huggingface_hub changed over, httpx2's
_PASSING_TRANSPORT = {"TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"}


def with_retries(call: Callable[[], T], what: str, *, attempts: int = ATTEMPTS) -> T:
    """The result of a call, tried again while its errors are of a kind that passes.

    Waits what `Retry-After` or `RateLimit` ask for (up to 10 minutes), else `min(60, 2^k)` seconds, each times a
    random factor between 1 and 1.25 (asked) or 0.5 and 1 (not asked), so that many workers do not return together.

    Raises:
        Unreachable: the last error, if none of the attempts succeeded.
        CheckpointError: an error of a kind that stays.
    """
    for attempt in range(attempts):
        try:
            return call()
        except CheckpointError:
            raise
        except Exception as error:
            if not is_transient(error):
                raise CheckpointError(f"{what}: {first_line(error)}") from error
            if attempt == attempts - 1:
                raise Unreachable(
                    f"{what}: {first_line(error)} ({attempts} attempts). The Hub or the network fails; run again later"
                ) from error
            time.sleep(wait_seconds(error, attempt))
    raise AssertionError("attempts must be at least 1")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    root = _root(error)
    response = getattr(root, "response", None)
    if response is not None:
        return response.status_code in _PASSING_STATUS
    if isinstance(root, OSError) and "Consistency check failed" in str(root):
        return True
    kinds = {kind.__name__ for kind in type(root).__mro__}
    return bool(kinds & _PASSING_TRANSPORT) or isinstance(root, (TimeoutError, ConnectionError))


def wait_seconds(error: BaseException, attempt: int) -> float:
    """Seconds to wait before the next attempt; jitter included."""
    response = getattr(_root(error), "response", None)
    asked = None if response is None else asked_wait(response.headers)
    if asked is not None:
        return min(asked, LONGEST_ASKED) * _JITTER.uniform(1.0, 1.25)
    return min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * _JITTER.uniform(0.5, 1.0)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: `Retry-After` (seconds or a date), else `RateLimit` with nothing remaining."""
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
    """The first line of an error that says something, without tokens."""
    root = _root(error)
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return redact(lines[0] if lines else type(root).__name__)


def _root(error: BaseException) -> BaseException:
    """What went wrong on the wire: huggingface_hub shows it as LocalEntryNotFoundError."""
    while isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error
