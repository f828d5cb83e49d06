"""The Hub's Xet store: whether it answers and delivers. Where not, content comes by HTTPS, for all who use a cache.

The client of that store tries for minutes, for each file again, and waits without end where no byte arrives. So the
store is tried before the first file, a transfer below the least rate is ended, and a store that does not answer or
fails a download is not used by any process for an hour.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfFileMetadata, constants, get_session
from huggingface_hub.utils import build_hf_headers, tqdm
from huggingface_hub.utils._runtime import is_xet_available
from huggingface_hub.utils._xet import abort_xet_session

from dynamics.atomic_write import write_atomically
from dynamics.hub import waiting
from dynamics.hub.api import STATE_FOLDER
from dynamics.hub.names import redact
from dynamics.hub.settings import HubSettings, settings

TIMEOUT = 10.0
DISABLED_SECONDS = 3600.0
CHECKED_AGAIN_SECONDS = 600.0
_last_answers: dict[str, float] = {}


class TransferBar(tqdm):
    """Progress bar given to the client, which ends a transfer that comes below the least rate.

    The client of the Xet store reports to it what arrived and what was written, and has no time limit of its own. To
    end one transfer ends those of all threads of this process: each then comes by plain HTTPS.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._n_bytes, self._closed = 0, threading.Event()
        least = waiting.least_rate.get()  # here, since a thread does not inherit it
        threading.Thread(target=self._watch, args=(least,), name="xet-rate", daemon=True).start()

    def update(self, n: float | None = 1) -> bool | None:
        """Count bytes that were written."""
        self._n_bytes += n or 0
        return super().update(n)

    def update_transfer(self, n: float) -> None:
        """Count bytes that arrived, which are written later."""
        self._n_bytes += n

    def set_transfer_postfix_str(self, *_: object, **__: object) -> None:
        """Show nothing: what the client says beside the bytes that arrived."""

    def close(self) -> None:
        """End the watch with the transfer."""
        if hasattr(self, "_closed"):  # tqdm closes bars that it could not make, too
            self._closed.set()
        super().close()

    def _watch(self, least: float) -> None:
        before, window = 0, waiting.WINDOW_SECONDS
        while not self._closed.wait(window):
            rate, before = (self._n_bytes - before) / window, self._n_bytes
            if rate < least or not rate:
                disable(settings(), waiting.too_slow(rate, least))
                abort_xet_session()
                return


def is_used(offer: HfFileMetadata | None) -> bool:
    """Whether the client would get this content from the Xet store."""
    return offer is not None and offer.xet_file_data is not None and is_xet_available()


def check(hub: HubSettings, offer: HfFileMetadata) -> None:
    """Let the client use plain HTTPS where the store of this content does not answer."""
    if not is_used(offer):
        return
    if _is_disabled(hub):
        constants.HF_HUB_DISABLE_XET = True
        return
    if time.monotonic() - _last_answers.get(hub.endpoint, -CHECKED_AGAIN_SECONDS) < CHECKED_AGAIN_SECONDS:
        return
    try:
        _request_answer(hub, offer)
        _last_answers[hub.endpoint] = time.monotonic()
    except Exception as error:  # of httpx, or in newer versions of httpx2; whatever it is, HTTPS remains
        disable(hub, error)


def disable(hub: HubSettings, error: BaseException) -> None:
    """Let every process that uses this cache get content by plain HTTPS for an hour."""
    if not constants.HF_HUB_DISABLE_XET:
        waiting.say(f"the Xet store fails ({redact(str(error)[:120]) or type(error).__name__}); using plain HTTPS")
    constants.HF_HUB_DISABLE_XET = True
    with suppress(OSError):
        write_atomically(_mark(hub), b"")


def _request_answer(hub: HubSettings, offer: HfFileMetadata) -> None:
    """Request from the Hub where the store is, and from the store any answer."""
    assert offer.xet_file_data is not None
    headers = build_hf_headers(token=hub.token or False)
    answer = get_session().get(offer.xet_file_data.refresh_route, headers=headers, timeout=TIMEOUT)
    answer.raise_for_status()
    get_session().get(answer.headers[constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT], timeout=TIMEOUT)


def _is_disabled(hub: HubSettings) -> bool:
    try:
        return 0 <= time.time() - _mark(hub).stat().st_mtime < DISABLED_SECONDS
    except OSError:
        return False


def _mark(hub: HubSettings) -> Path:
    return hub.cache / STATE_FOLDER / "xet-disabled"
