"""Identities: equal settings have equal ids, and a setting that is added later changes none of those there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynamics import identity
from dynamics.checkpoints import Checkpoint
from dynamics.identity import canonical_json, identity_hash
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.descent import FitSettings
from dynamics.methods.fits import Fit, heldout_fits
from dynamics.methods.variants import VARIANTS
from dynamics.tasks import Template
from jobs.run_checkpoint import forward_id
from jobs.work import WorkUnit

FIT = Fit("default", "default", VARIANTS["default"].reweighting, 12)
TEMPLATE = Template("plain", "Review: {text} {label}")
CHECKPOINT = Checkpoint("org/model", "step0", 0, 0, "sha256:0", "0" * 64, "1" * 16, Path("model"))
UNIT = WorkUnit(CHECKPOINT, "toy", "2" * 16, TEMPLATE, 0, 4, 8, 10, "float32")

PROMPTS: Any = SimpleNamespace(digest="3" * 16)

PINNED: dict[str, tuple[Callable[[], str], str]] = {
    "default": (lambda: FIT.fit_id, "36044135bd226818"),
    "paper": (lambda: Fit("paper", "paper", VARIANTS["paper"].reweighting, 24).fit_id, "95ae2f31d5ca1415"),
    "official_code": (
        lambda: Fit("code", "official_code", VARIANTS["official_code"].reweighting, 12).fit_id,
        "85c4de49bdcd5298",
    ),
    "held-out T1": (lambda: heldout_fits([FIT])[0].fit_id, "fd6c28dd7bc0a9e0"),
    "standard": (lambda: PromptingBaseline("standard", 12).fit_id, "6dac84eaab7b0239"),
    "prompt selection": (lambda: PromptingBaseline("prompt_selection", 12, "checkpoint").fit_id, "33acdfc6c8ac2916"),
    "contextual calibration": (lambda: PromptingBaseline("contextual_calibration", 0).fit_id, "57a9a8802cb3719c"),
    "unit": (lambda: UNIT.unit_id, "a2e41d23bb4d756b"),
    "forward pass": (lambda: forward_id(UNIT, PROMPTS), "56b4c1bbb06909d9"),
}
"""A few ids: a change of one makes every stored result of its kind unknown, and needs another `IDENTITY_VERSION`."""

DEFAULTS = {
    FitSettings: {
        "mean_loss": False, "clip": False, "keep_remainder": False, "stop": "max_epochs", "check_before_update": False,
    },
    Template: {"separator": "\n\n", "label_words": None},
    PromptingBaseline: {"variant": "", "encoder_hash": ""},
}  # fmt: skip
"""Defaults of what is hashed: a field with its default is not in the hash, so a changed default would go unseen."""


@pytest.mark.parametrize("name", PINNED)
def test_an_id_is_what_it_was(name: str) -> None:
    identify, pinned = PINNED[name]
    assert identify() == pinned


@pytest.mark.parametrize("hashed", DEFAULTS)
def test_no_default_of_what_is_hashed_changes(hashed: type) -> None:
    now = {field.name: field.default for field in fields(hashed)}
    assert DEFAULTS[hashed].items() <= now.items()


def grown(hashed: type) -> type:
    """The dataclass with two more fields, which have defaults."""
    more = [("temperature", float, field(default=1.0)), ("notes", tuple, field(default_factory=tuple))]
    return make_dataclass(hashed.__name__, more, bases=(hashed,), frozen=True)


def test_a_new_setting_with_a_default_changes_no_id_and_with_a_value_each() -> None:
    wider = grown(FitSettings)(**vars(FIT.settings))
    assert Fit("default", "default", wider, 12).fit_id == FIT.fit_id
    warmer = grown(FitSettings)(**vars(FIT.settings), temperature=2.0)
    assert Fit("default", "default", warmer, 12).fit_id != FIT.fit_id
    template = grown(Template)(**vars(TEMPLATE))
    assert replace(UNIT, template=template).unit_id == UNIT.unit_id
    assert replace(UNIT, template=replace(template, notes=("x",))).unit_id != UNIT.unit_id
    baseline = PromptingBaseline("standard", 12)
    assert grown(PromptingBaseline)(**vars(baseline)).fit_id == baseline.fit_id


@pytest.mark.parametrize("change", [{"l1": 0.5}, {"max_epochs": 9}, {"variant": "mine"}, {"keep_remainder": False}])
def test_every_setting_of_a_fit_is_in_its_id(change: Mapping[str, object]) -> None:
    settings = FitSettings(**{**vars(FIT.settings), **change})
    assert Fit("default", "default", settings, 12).fit_id != FIT.fit_id


def test_another_method_is_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FIT.fit_id, PromptingBaseline("standard", 12).fit_id
    for module in ("fits", "baselines"):
        monkeypatch.setattr(f"dynamics.methods.{module}.METHOD_VERSION", identity.METHOD_VERSION + 1)
    assert replace(FIT).fit_id != before[0]
    assert PromptingBaseline("standard", 12).fit_id != before[1]


@dataclass(frozen=True)
class Nested:
    name: str
    inner: FitSettings | None = None


def test_equal_values_share_their_json() -> None:
    assert (
        canonical_json({"b": 1.0, "a": (1, "é")})
        == canonical_json({"a": [1, "é"], "b": 1})
        == '{"a":[1,"\\u00e9"],"b":1}'
    )
    assert canonical_json(Nested("x")) == '{"name":"x"}'
    assert canonical_json(Nested("x", FitSettings("v", 0, 0.5, 3))) == (
        '{"inner":{"l1":0,"lr":0.5,"max_epochs":3,"variant":"v"},"name":"x"}'
    )
    assert canonical_json([True, 1]) == "[true,1]"


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {1, 2}}, {"a": Path("x")}, {"a": FitSettings}])
def test_what_has_no_json_of_its_own_is_refused(value: dict) -> None:
    with pytest.raises(TypeError, match="identity"):
        identity_hash(value)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity_hash({"a": float("nan")})
