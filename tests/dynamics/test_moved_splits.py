"""WiC on a local Hub in every layout that it may have: the same rows and units, a note, and nothing doubtful."""

import io
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from dynamics.errors import PlanError
from dynamics.hub.datasets import CONVERTED
from dynamics.tasks import TaskRows, get_task
from jobs.sweep_plan import SweepPlan, read_plan
from tests import hub_models as models
from tests.dynamics.raw_rows import source_of
from tests.hub_server import FakeHub
from tests.works import units_of

MODEL, REPO = "EleutherAI/pythia-14m", "aps/super_glue"
SPLITS = {split: file.n_rows or 0 for split, file in source_of(get_task("wic")).source.files.items()}
NAMED, MOVED = "wic/{}-00000-of-00001.parquet", "wic/{}/0000.parquet"


def table(split: str, n: int) -> pl.DataFrame:
    """A split of WiC with any number of rows."""
    sentences = [f"{split} sentence {i}" for i in range(n)]
    rows = {"word": ["light"] * n, "sentence1": sentences, "sentence2": ["A light bag."] * n}
    return pl.DataFrame(rows | {"label": [i % 2 for i in range(n)]})


def parquet(rows: pl.DataFrame) -> bytes:
    """A table as a file."""
    rows.write_parquet(buffer := io.BytesIO())
    return buffer.getvalue()


def both(pattern: str, n_shards: int = 1, more: int = 0) -> dict[str, bytes]:
    """Both splits, in files named by a pattern of the split and the number of a shard, with some rows more."""
    files = {}
    for split, n in SPLITS.items():
        rows, size = table(split, n + more), -(-(n + more) // n_shards)
        for i in range(n_shards):
            files[pattern.format(split, i)] = parquet(rows[i * size : (i + 1) * size])
    return files


def add(hub: FakeHub, main: Mapping[str, bytes], converted: Mapping[str, bytes] | None = None) -> None:
    """The dataset's branches, and a model."""
    hub.add(f"datasets/{REPO}", "main", {"README.md": b"x", **main})
    if converted is not None:
        hub.add(f"datasets/{REPO}", CONVERTED, converted)
    hub.add(MODEL, "step0", models.single(0))


def wic() -> TaskRows:
    """The rows of WiC from the Hub."""
    return get_task("wic").load(None)


def plan_in(folder: Path, revisions: str = "") -> SweepPlan:
    """A plan of WiC."""
    path = folder / "plan.toml"
    path.write_text(f'name = "x"\n[[models]]\nid = "{MODEL}"\nsteps = [0]\n[[tasks]]\nname = "wic"\n{revisions}')
    return read_plan(path)


LAYOUTS: Mapping[str, tuple[dict[str, bytes], dict[str, bytes] | None]] = {
    "moved": (both(MOVED), None),
    "shards": (both("wic/{}-{:05d}-of-00003.parquet", 3), None),
    "in data": (both("data/{}-00000-of-00001.parquet"), None),
    "in the root": (both("{}.parquet"), None),
    "one of two": (both(MOVED) | both("data/{}-0.parquet", more=2), None),
    "converted": ({"super_glue.py": b"x"}, both(MOVED)),
    "converted in shards": ({}, both("wic/{}/{:04d}.parquet", 12)),
    "other rows on main": (both(MOVED, more=-1), both(MOVED)),
    "another configuration": (both("wic_old/{}.parquet") | both("cb/{}/0000.parquet"), both(MOVED)),
}
"""The files of main and of the conversion, which is read wherever there is one."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_units_are_those_of_the_fixed_path_and_the_plan_says_what_was_read(
    hub: FakeHub, tmp_path: Path, layout: str
) -> None:
    main, converted = LAYOUTS[layout]
    add(hub, both(NAMED), converted)
    fixed = plan_in(tmp_path)
    expected = [unit.unit_id for unit in units_of(fixed)]
    assert fixed.row_notes == ()
    moved = hub.add(f"datasets/{REPO}", "moved", main)
    plan = plan_in(tmp_path, f'[revisions]\n"{REPO}" = "moved"')
    assert [unit.unit_id for unit in units_of(plan)] == expected
    place = f"{CONVERTED} ({hub.branches[f'datasets/{REPO}'][CONVERTED]})" if converted else f"moved ({moved})"
    for split, n in SPLITS.items():
        start = f"task wic: {NAMED.format(split)} was not found at {REPO}@moved: {REPO}@{place} "
        (said,) = [note for note in plan.row_notes if note.startswith(start)]
        assert said.endswith(f" is read, by its name and its {n} rows")


def test_one_row_more_is_another_unit(hub: FakeHub, tmp_path: Path) -> None:
    add(hub, both(NAMED))
    other = hub.add(f"datasets/{REPO}", "other", both(NAMED, more=1))
    pin = f'[revisions]\n"{REPO}" = "{other}"'
    ids = [{unit.unit_id for unit in units_of(plan_in(tmp_path, revisions))} for revisions in ("", pin)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("converted", [None, both(MOVED, more=2)], ids=["main", "both"])
def test_a_wrong_number_of_rows_is_refused_with_what_was_seen(hub: FakeHub, converted: dict[str, bytes] | None) -> None:
    add(hub, both(MOVED, more=1), converted)
    with pytest.raises(PlanError) as refused:
        wic()
    text = str(refused.value)
    assert "split 'validation' with 638 rows are at main or refs/convert/parquet: " in text
    assert "at main it has wic/validation/0000.parquet (639 rows); " in text
    assert ("at refs/convert/parquet it has wic/validation/0000.parquet (640 rows)" in text) == bool(converted)
    assert "Pin a commit that has it in the plan's [revisions]; without network, put the file into a folder" in text
    assert "\n" not in text


@pytest.mark.parametrize("place", ["main", CONVERTED])
def test_two_with_the_right_number_are_refused_by_name(hub: FakeHub, place: str) -> None:
    two = both("wic/{}/0000.parquet") | both("data/{}-{:05d}-of-00002.parquet", 2)
    add(hub, *((two,) if place == "main" else ({}, two)))
    with pytest.raises(
        PlanError,
        match=rf"wic/validation/0000.parquet and data/validation-00000-of-00002.parquet to data/validation-00001-of-"
        rf"00002.parquet at {place} are named after the split 'validation', with 638 rows, .*pin a commit",
    ):
        wic()


@pytest.mark.parametrize("converted", [None, both(MOVED)], ids=["alone", "converted"])
def test_what_is_named_like_the_split_but_cannot_be_read_is_left_or_named(
    hub: FakeHub, converted: dict[str, bytes] | None
) -> None:
    add(hub, dict.fromkeys(both(MOVED), b"no"), converted)
    if converted:
        assert f"{REPO}@{CONVERTED} (" in wic().source
    else:
        with pytest.raises(PlanError, match=r"at main it has wic/validation/0000.parquet \(not Parquet\)"):
            wic()


@pytest.mark.parametrize("layout", ["fixed", *LAYOUTS])
def test_offline_the_same_is_read_again(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    add(hub, *({"fixed": (both(NAMED),)} | LAYOUTS)[layout])
    online = wic()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    assert wic() == online
    assert not hub.requests


def test_offline_a_conversion_read_before_is_enough(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier versions read WiC; nothing of main was ever listed."""
    add(hub, {"super_glue.py": b"x"}, both(MOVED))
    reader = source_of(get_task("wic"))
    before = reader.with_revisions({REPO: CONVERTED})()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    now = wic()
    assert (now.pool, now.test) == (before.pool, before.test)
    assert "was not found at aps/super_glue@main" in now.notes[0]


def test_offline_without_anything_says_so(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    add(hub, both(NAMED))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PlanError, match=r"cannot get wic/validation-0.* dataset aps/super_glue@main.* HF_HUB_OFFLINE"):
        wic()
    assert not hub.requests
