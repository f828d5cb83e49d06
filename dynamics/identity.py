"""Identity of results: the version of the method, and the short hashes that identify units, fits and parts.

Whatever decides numbers is hashed as canonical JSON of names and values, in which a field of a dataclass that has its
default value is left out. So a setting that is added later, with a default that means "as before", changes no id.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass

METHOD_VERSION = 2
"""Raised when a change of the code changes numbers of the same checkpoint and prompts; hashed into every unit's id.

2: areas under the ROC curve count scores that differ by no more than rounding as equal.

Rows and groups of a task need none, since its hash is in every unit's id; another choice of the same rows does, since
the prompts are not. That groups stay on one side changed the partition only of tasks whose rows, and so ids, changed.
"""
IDENTITY_VERSION = 2
"""Raised when a change of the code changes ids of the same settings; a store keeps it, and ids of one version only.

1: hashes of `repr` and `astuple`; 2: hashes of canonical JSON (`identity_hash`)."""


def short_hash(text: str, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def identity_hash(settings: Mapping[str, object]) -> str:
    """Hash (16 hex) of named settings: of `canonical_json`. A default of a hashed dataclass may never change."""
    return short_hash(canonical_json(settings))


def canonical_json(value: object) -> str:
    """A value as JSON that equal values share: sorted keys, no spaces, 1.0 as 1, tuples as lists.

    Dataclasses are objects of their fields, without those that have their default value.

    Raises:
        TypeError: a value has no JSON of its own, such as a set or an object, whose text could change.
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: object) -> object:
    """A value in terms of what JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        given = {field.name: getattr(value, field.name) for field in fields(value) if not _has_default(field, value)}
        return _plain(given)
    if isinstance(value, Mapping):
        if others := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"key {others[0]!r} of an identity is not a string")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"{value!r} cannot be part of an identity; give text, numbers, lists, mappings or dataclasses")


def _has_default(field: Field, owner: object) -> bool:
    """Whether a dataclass's field has its default value."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default is not MISSING and canonical_json(getattr(owner, field.name)) == canonical_json(default)
