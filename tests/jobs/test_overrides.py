"""`--set`: what it changes, what it refuses, and that the results say what was run."""

import tomllib
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dynamics.errors import PlanError
from dynamics.results.metadata import saved_plans
from dynamics.results.store import open_store
from jobs.overrides import overridden
from jobs.sweep import app
from jobs.sweep_plan import parse_plan, read_plan
from tests.models import write_plan

PLAN = """\
# A plan.
name = "p"    # its name

[[models]]
id = "reference"

[[tasks]]
name = "sentiment"
n_shots = [4, 8]

[fits]
n_labelled = [24]
"""


def changed(*overrides: str) -> dict:
    """The plan as it is read after overrides."""
    return tomllib.loads(overridden(PLAN, overrides))


def test_without_overrides_the_text_stays_as_it_is() -> None:
    assert overridden(PLAN, []) == PLAN


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("name=q", ("name",), "q"),
        ("models.0.id=EleutherAI/pythia-70m", ("models", 0, "id"), "EleutherAI/pythia-70m"),
        ("models.0.steps=[0, 64]", ("models", 0, "steps"), [0, 64]),
        ("models.0.steps={ from = 0, to = 8, every = 4 }", ("models", 0, "steps"), {"from": 0, "to": 8, "every": 4}),
        ("tasks.0.n_test = 200", ("tasks", 0, "n_test"), 200),
        ("tasks.0.n_shots.1=2", ("tasks", 0, "n_shots", 1), 2),
        ("tasks.0.n_shots.2=16", ("tasks", 0, "n_shots"), [4, 8, 16]),
        ("tasks.1.name=topic", ("tasks", 1), {"name": "topic"}),
        ("resources.num_gpus=0.25", ("resources",), {"num_gpus": 0.25}),
        ("fits.define.0.name='mild'", ("fits", "define"), [{"name": "mild"}]),
        ('revisions."owner/name"=abc', ("revisions", "owner/name"), "abc"),
        ("prompting_baselines=true", ("prompting_baselines",), True),
        ("log=wandb", ("log",), "wandb"),
        ('name="a=b"', ("name",), "a=b"),
    ],
)
def test_an_override_replaces_adds_or_appends(override: str, path: tuple[str | int, ...], value: object) -> None:
    found = changed(override)
    before = tomllib.loads(PLAN)
    where = found
    for key in path:
        where = where[key]
    assert where == value
    assert {key: found[key] for key in before if key != path[0]} == {
        key: before[key] for key in before if key != path[0]
    }


def test_later_overrides_see_earlier_ones_and_comments_stay() -> None:
    text = overridden(PLAN, ["tasks.1.name=topic", "tasks.1.n_test=8", "tasks.1.n_test=9"])
    assert tomllib.loads(text)["tasks"][1] == {"name": "topic", "n_test": 9}
    assert '# --set "tasks.1.name=topic"\n# --set "tasks.1.n_test=8"\n' in text
    assert "# A plan." in text
    assert "# its name" in text


@pytest.mark.parametrize("override", ["name=1\nlog=2", "name=q\nlog=2", "name=1 # 2\nlog=3"])
def test_a_value_sets_no_second_key(override: str) -> None:
    assert set(changed(override)) == set(tomllib.loads(PLAN))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("name", "give KEY=VALUE"),
        ("=3", "give KEY=VALUE"),
        ("name=", "give KEY=VALUE"),
        ("a b=3", "'a b' is no path of keys"),
        ("models.1x.id=a", "models is a list with entries 0 to 0; give the number of one, or models.1 to append one"),
        ("models.2.id=a", "models is a list with entries 0 to 0; give the number of one, or models.1 to append one"),
        ("name.x=a", "name is 'p', which has no keys; set name itself"),
        ("tasks.0.n_shots.0.x=a", "tasks.0.n_shots.0 is 4, which has no keys"),
        ("models.0.steps=[0, 64", "the value is not valid TOML"),
    ],
)
def test_what_cannot_be_set_is_refused(override: str, said: str) -> None:
    with pytest.raises(PlanError) as refused:
        overridden(PLAN, [override])
    assert said in str(refused.value)
    assert override.partition("=")[0].rpartition(".")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("tasks.0.n_tset=5", "unknown key 'n_tset'; did you mean 'n_test'?"),
        ("modles.0.id=x", "unknown key 'modles'; did you mean 'models'?"),
        ("tasks.0.n_test=many", "tasks.0.n_test = 'many'"),
        ("tasks.0.name=sentimnt", "did you mean 'sentiment'?"),
    ],
)
def test_what_validation_refuses_names_the_override(override: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    with pytest.raises(PlanError) as refused:
        read_plan(tmp_path / "plan.toml", [override])
    assert said in str(refused.value)


def run(plan: Path, out: Path, *options: str) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline OPTIONS`."""
    return CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline", *options])


def test_a_sweep_records_its_overrides_and_the_same_command_resumes(tmp_path: Path, suite_folder: Path) -> None:
    plan, out = write_plan(tmp_path / "plan.toml", suite_folder), tmp_path / "out"
    options = ("--set", "tasks.0.templates=['plain']", "--set", "tasks.0.demo_seeds=1", "--set", "tasks.1.demo_seeds=1")
    first = run(plan, out, *options)
    assert first.exit_code == 0, first.output
    assert "tiny: 6 units, 0 already done, 6 to run" in first.output
    [text] = saved_plans(open_store(out)).values()
    assert parse_plan(text, "saved").tasks[0].seeds == (0,)
    assert '# --set "tasks.0.demo_seeds=1"' in text
    again = run(plan, out, *options)
    assert "tiny: 6 units, 6 already done, 0 to run" in again.output
    assert len(saved_plans(open_store(out))) == 1
