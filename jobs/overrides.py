"""Overrides on the command line: `--set models.0.id=x` changes the text of a plan before it is validated."""

import json
import tomllib
from collections.abc import MutableMapping, MutableSequence, Sequence
from itertools import pairwise
from typing import Any

from dynamics.errors import PlanError

EXAMPLE = "--set tasks.0.n_test=200"


def overridden(text: str, overrides: Sequence[str]) -> str:
    """The text of a plan with some values replaced or added, in order, its comments kept; the first lines say which.

    A key is a path of names and of numbers of list entries from 0, `tasks.0.n_test`; a part with other characters is
    quoted as in TOML. Tables and lists on the way are made, and the number after a list's last one appends an entry. A
    value is TOML; what is none is text, so that `models.0.id=EleutherAI/pythia-70m` needs no quotes.

    Raises:
        PlanError: an override is malformed, or its path leads into a value without keys or beyond a list's end.
    """
    if not overrides:
        return text
    import tomlkit  # here, since few plans are overridden

    text = text.removeprefix("\ufeff")
    expected, document = tomllib.loads(text), tomlkit.parse(text)
    for override in overrides:
        path, value = _path_and_value(override)
        for plan in (document, expected):
            _set(plan, path, value)
    said = "".join(f"# --set {json.dumps(override, ensure_ascii=False)}\n" for override in overrides)
    changed = f"# The plan with these values given on the command line:\n{said}\n{tomlkit.dumps(document)}"
    if tomllib.loads(changed) != expected:
        raise PlanError(f"--set {' --set '.join(overrides)} cannot be written into this plan; change the file instead")
    return changed


def _path_and_value(override: str) -> tuple[list[str], Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise PlanError(f"--set {override!r}: give KEY=VALUE, as {EXAMPLE}")
    try:
        nested = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        nested = {}
    path: list[str] = []
    while isinstance(nested, dict) and len(nested) == 1:
        [(name, nested)] = nested.items()
        path.append(name)
    if nested != 0:
        raise PlanError(f"--set {override!r}: {key.strip()!r} is no path of keys; give one such as {EXAMPLE}")
    return path, _value(value.strip(), override)


def _value(text: str, override: str) -> Any:
    """A value as TOML, or as the text that it is."""
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text[0] in "[{\"'":
            raise PlanError(f"--set {override!r}: the value is not valid TOML: {error}") from error
        return text
    return values["value"] if len(values) == 1 else text


def _set(plan: MutableMapping[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value at a path, making what is not there."""
    where: Any = plan
    for depth, (key, following) in enumerate(pairwise(path)):
        place = _place(where, key, path[:depth])
        if place == _end(where, key):
            _put(where, place, [] if following == "0" else {})
        where = where[place]
    _put(where, _place(where, path[-1], path[:-1]), value)


def _end(where: Any, key: str) -> str | int | None:
    """The place at which something new would be put: after a list's last entry, or at a key that is not there."""
    if isinstance(where, MutableSequence):
        return len(where)
    return key if key not in where else None


def _place(where: Any, key: str, parents: Sequence[str]) -> str | int:
    """The key, or the number of an entry of a list.

    Raises:
        PlanError: a value without keys is there, or the list has no such entry.
    """
    parent = ".".join(parents)
    if isinstance(where, MutableMapping):
        return key
    if not isinstance(where, MutableSequence):
        shown = where.unwrap() if hasattr(where, "unwrap") else where
        raise PlanError(f"--set {parent}.{key}: {parent} is {shown!r}, which has no keys; set {parent} itself")
    if not key.isdecimal() or int(key) > len(where):
        has = f"entries 0 to {len(where) - 1}" if len(where) else "no entry"
        raise PlanError(
            f"--set {parent}.{key}: {parent} is a list with {has}; give the number of one, or {parent}.{len(where)} to "
            "append one"
        )
    return int(key)


def _put(where: Any, place: str | int, value: Any) -> None:
    holder: Any = where
    if isinstance(where, MutableSequence) and place == len(where):
        where.append(value)
    else:
        holder[place] = value
