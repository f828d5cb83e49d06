"""Answers of the Hub's API: requested with a time limit, checked to be the Hub's, and kept in the cache."""

import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from huggingface_hub import get_session, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers

from dynamics.atomic_write import write_atomically
from dynamics.errors import CheckpointError
from dynamics.hub.names import redact
from dynamics.hub.retries import TRANSIENT_STATUS, BadAnswer, with_retries
from dynamics.hub.settings import HubSettings
from dynamics.hub.waiting import watch_rate

STATE_FOLDER = ".pythia-emergence"
API_TIMEOUT = 30.0
_SHOWN_WORDS = 12


def get_json(hub: HubSettings, url: str, what: str) -> tuple[Any, str | None]:
    """The JSON at a URL, and the URL of the next page.

    `HfApi` is not used, since its requests have no time limit: a hanging server would block the sweep.

    Raises:
        CheckpointError: no such object, no permission, or what answers is not the Hub.
        Unreachable: no answer in several attempts.
    """

    def once() -> tuple[Any, str | None]:
        headers = build_hf_headers(token=hub.token or False)
        response = get_session().get(url, headers=headers, timeout=API_TIMEOUT)
        hf_raise_for_status(response)
        try:
            return response.json(), response.links.get("next", {}).get("url")
        except (ValueError, RecursionError) as error:
            if response.text.lstrip()[:1] in ("{", "["):
                raise BadAnswer("its JSON is cut off or damaged") from error
            raise CheckpointError(f"{what}: {not_the_hub(hub, response.text)}") from error

    return with_retries(once, what)


def get_pages(hub: HubSettings, url: str, what: str) -> list[dict]:
    """All entries of a paged list.

    Raises:
        CheckpointError: as `get_json`; it is not a list of objects, continues on another host, or never ends.
    """
    entries: list[dict] = []
    paths: set[str] = set()
    while url:
        page, following = get_json(hub, url, what)
        entries += checked_entries(page, f"{what} at {hub.endpoint}")
        before = len(paths)
        paths |= {str(entry.get("path")) for entry in page}
        if following and len(paths) == before:
            raise CheckpointError(f"{what}: its pages repeat without end; check HF_ENDPOINT, {hub.endpoint}")
        url = _same_host(hub, url, following, what) if following else ""
    return entries


def checked_entries(answer: object, what: str) -> list[dict]:
    """An answer that is a list of objects.

    Raises:
        CheckpointError: it is not.
    """
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise CheckpointError(f"{what} is not a list of files as the Hub's; check HF_ENDPOINT")
    return answer


def not_the_hub(hub: HubSettings, text: str) -> str:
    """Message about an answer that is a page, such as the login of a network, with its first words."""
    plain = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
    words = redact(" ".join(plain.split()[:_SHOWN_WORDS])) or "an empty page"
    return (
        f"what answers at {hub.endpoint} is not the Hub: it says {words[:120]!r}. Log in to this network, or check "
        "HF_ENDPOINT and the proxy"
    )


def kept(hub: HubSettings, name: str) -> Any:
    """An answer kept earlier, or None where there is none or it cannot be read."""
    try:
        return json.loads((hub.cache / STATE_FOLDER / "listings" / name).read_text())
    except (OSError, ValueError, RecursionError):
        return None


def keep(hub: HubSettings, name: str, answer: Any) -> None:
    """Keep an answer; if the cache cannot be written, it is requested again next time."""
    with suppress(OSError):
        write_atomically(hub.cache / STATE_FOLDER / "listings" / name, json.dumps(answer).encode())


def drop(hub: HubSettings, name: str) -> None:
    """Forget an answer that was kept."""
    with suppress(OSError):
        (hub.cache / STATE_FOLDER / "listings" / name).unlink(missing_ok=True)


def _same_host(hub: HubSettings, url: str, following: str, what: str) -> str:
    """The URL of the next page; the token must not be sent to another host."""
    try:
        following = urljoin(url, following)
        host = urlsplit(following).netloc
    except ValueError as error:
        raise CheckpointError(f"{what} continues at {following!r}, which is no URL; check HF_ENDPOINT") from error
    if host != urlsplit(hub.endpoint).netloc:
        raise CheckpointError(f"{what} continues on another host, {host}; check HF_ENDPOINT")
    return following


def configure_client() -> None:
    """Configure the client of huggingface_hub: every request has a time limit, a slow download is ended, a redirect to
    `//host/...` is followed, and transient errors are left to `with_retries`, which limits and reports its waits.
    """
    session = get_session()
    session.timeout = API_TIMEOUT  # of requests that name none, such as that for a token of the Xet store
    hooks = session.event_hooks
    if _with_scheme not in hooks["response"]:
        session.event_hooks = {**hooks, "response": [*hooks["response"], _raise_transient, _with_scheme, watch_rate]}


def _raise_transient(response: Any) -> None:
    """Raise at once what the client itself would repeat, sleeping as long as the server says, be it a day."""
    if response.status_code in TRANSIENT_STATUS:
        hf_raise_for_status(response)


def _with_scheme(response: Any) -> None:
    location = response.headers.get("Location", "")
    if location.startswith("//"):
        response.headers["Location"] = f"{response.request.url.scheme}:{location}"


def repo_url(hub: HubSettings, repo: str, kind: str, rest: str) -> str:
    """URL of the API about a repository."""
    return f"{hub.endpoint}/api/{kind}s/{repo}/{rest}"
