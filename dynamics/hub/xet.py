"""The Hub's Xet store: whether it answers. Where it does not, content comes by plain HTTPS, for all who use the cache.

The client of that store tries for minutes, for each file again. So the store is tried before the first file, and one
that does not answer, or fails a download, is left alone by every process for an hour.
"""

import time
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfFileMetadata, constants, get_session
from huggingface_hub.utils import build_hf_headers
from huggingface_hub.utils._runtime import is_xet_available

from dynamics.atomic_write import write_atomically
from dynamics.hub.api import STATE_FOLDER
from dynamics.hub.names import HubSettings, redact
from dynamics.hub.waiting import say

TIMEOUT = 10.0
LEFT_ALONE_SECONDS = 3600.0
ASKED_AGAIN_SECONDS = 600.0
_answered: dict[str, float] = {}


def is_used(offer: HfFileMetadata | None) -> bool:
    """Whether the client would get this content from the Xet store."""
    return offer is not None and offer.xet_file_data is not None and is_xet_available()


def check(hub: HubSettings, offer: HfFileMetadata) -> None:
    """Let the client use plain HTTPS where the store of this content does not answer."""
    if not is_used(offer):
        return
    if _is_left_alone(hub):
        constants.HF_HUB_DISABLE_XET = True
        return
    if time.monotonic() - _answered.get(hub.endpoint, -ASKED_AGAIN_SECONDS) < ASKED_AGAIN_SECONDS:
        return
    try:
        _ask(hub, offer)
        _answered[hub.endpoint] = time.monotonic()
    except Exception as error:  # of httpx, or in newer versions of httpx2; whatever it is, HTTPS is left
        leave_alone(hub, error)


def leave_alone(hub: HubSettings, error: BaseException) -> None:
    """Let every process that uses this cache get content by plain HTTPS for an hour."""
    constants.HF_HUB_DISABLE_XET = True
    say(f"the Xet store does not answer ({redact(str(error)[:120]) or type(error).__name__}); using plain HTTPS")
    with suppress(OSError):
        write_atomically(_mark(hub), b"")


def _ask(hub: HubSettings, offer: HfFileMetadata) -> None:
    """Ask the Hub where the store is, and the store for anything: any answer will do."""
    assert offer.xet_file_data is not None
    headers = build_hf_headers(token=hub.token or False)
    answer = get_session().get(offer.xet_file_data.refresh_route, headers=headers, timeout=TIMEOUT)
    answer.raise_for_status()
    get_session().get(answer.headers[constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT], timeout=TIMEOUT)


def _is_left_alone(hub: HubSettings) -> bool:
    try:
        return 0 <= time.time() - _mark(hub).stat().st_mtime < LEFT_ALONE_SECONDS
    except OSError:
        return False


def _mark(hub: HubSettings) -> Path:
    return hub.cache / STATE_FOLDER / "xet-does-not-answer"
