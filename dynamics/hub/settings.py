"""Settings of the Hub client, from the environment."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import constants, get_token

_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class HubSettings:
    """Settings of the Hub client: HF_ENDPOINT, HF_HUB_CACHE, HF_HUB_OFFLINE, and HF_TOKEN or HF_TOKEN_PATH."""

    endpoint: str
    cache: Path
    offline: bool
    token: str | None = field(repr=False)


def settings() -> HubSettings:
    """The current settings; huggingface_hub itself reads the environment only once, when it is imported."""
    environment = os.environ
    home = environment.get("HF_HOME")
    cache = environment.get("HF_HUB_CACHE") or (f"{home}/hub" if home else constants.HF_HUB_CACHE)
    offline = environment.get("HF_HUB_OFFLINE")
    return HubSettings(
        endpoint=(environment.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"),
        cache=Path(os.path.expandvars(cache)).expanduser().absolute(),
        offline=constants.is_offline_mode() if offline is None else offline.upper() in _TRUE,
        token=_token(),
    )


def _token() -> str | None:
    """The token in HF_TOKEN, else in the file that HF_TOKEN_PATH names, else the one huggingface_hub has stored."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    named = os.environ.get("HF_TOKEN_PATH")
    if named is None:
        return get_token()
    path = Path(os.path.expandvars(named)).expanduser()
    return path.read_text().strip() or None if path.is_file() else None
