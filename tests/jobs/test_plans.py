"""Every plan that is shipped: valid, with tasks and templates that exist, and with the paper's own grid."""

from pathlib import Path

import pytest

import jobs.sweep_plan
from analysis.reading.seeds import families
from dynamics.suites import suites
from dynamics.tasks import TASKS
from jobs.sweep_plan import SweepPlan, read_plan
from tests.works import units_of

GRIDS = {suite.name: suite.grids for suite in suites()}["pythia"]
FOLDER = Path(jobs.sweep_plan.__file__).with_name("plans")
PLANS = sorted(path.name for path in FOLDER.glob("*.toml"))
PAPER = [name for name in PLANS if name.startswith("paper-")]
DYNAMICS = ["pythia-1.4b-agnews.toml", "pythia-6.9b-agnews.toml", "pythia-6.9b-sst2.toml"]
EIGHT = {"sst2": 2, "boolq": 2, "qqp": 2, "wic": 2, "rte": 2, "mnli": 3, "agnews": 4, "arc_easy": 4}


def plan(name: str) -> SweepPlan:
    """A shipped plan."""
    return read_plan(FOLDER / name)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_valid_and_says_what_it_is(name: str) -> None:
    found = plan(name)
    assert found.name == name.removesuffix(".toml")
    assert (FOLDER / name).read_text().startswith("# ")
    assert {cell.name for cell in found.tasks} <= set(TASKS)
    for cell in found.tasks:
        for template in () if cell.templates == "all" else cell.templates:
            assert found.task_by_name[cell.name].template(template).name == template
    assert len(found.fits.all) >= 1


def test_the_reference_sweep_goes_on_where_the_demo_ends() -> None:
    demo, whole = ({unit.unit_id for unit in units_of(plan(name))} for name in ("demo.toml", "reference.toml"))
    assert demo < whole
    assert (len(demo), len(whole)) == (13 * 20, 25 * 120)
    assert plan("demo.toml").fits == plan("reference.toml").fits


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_plan_is_the_papers_protocol(name: str) -> None:
    found = plan(name)
    assert {cell.name for cell in found.tasks} == set(EIGHT)
    for cell in found.tasks:
        assert len(set(cell.templates)) == 3
        assert "contrast" not in cell.templates
        assert cell.seeds == (0, 1, 2, 3, 4)
        assert cell.n_shots == ((3,) if EIGHT[cell.name] == 3 else (4,))
        assert found.task_by_name[cell.name].n_labels == EIGHT[cell.name]
        assert (cell.n_test, cell.n_train) == (2000, 24)
    wanted = {(method, k) for method in ("standard", "prompt_selection") for k in (12, 24)}
    wanted |= {("contextual_calibration", 0), ("domain_context_calibration", 0)}
    assert {(baseline.method, baseline.n_labelled) for baseline in found.baselines} == wanted
    assert {fit.base for fit in found.fits.all} == {"paper", "official_code", "default"}
    assert {fit.n_labelled for fit in found.fits.all} == {12, 24}
    assert [model.revision for model in found.models] == ["main"]


def test_the_papers_models_all_have_a_plan() -> None:
    assert {plan(name).models[0].id for name in PAPER} == {
        "meta-llama/Llama-2-7b-hf",
        "meta-llama/Llama-2-13b-hf",
        "meta-llama/Meta-Llama-3-8B",
        "mistralai/Mistral-7B-Instruct-v0.1",
    }


@pytest.mark.parametrize("name", DYNAMICS)
def test_the_dynamics_plans_have_the_papers_steps_and_those_between(name: str) -> None:
    found = plan(name)
    steps = found.models[0].steps
    assert isinstance(steps, tuple)
    assert steps == tuple(sorted({*GRIDS["paper"], 1000, 2000, 3000, 4000}))
    assert len(steps) == 36
    (cell,) = found.tasks
    assert found.name == f"{found.models[0].id.split('/')[1]}-{cell.name}"
    assert (len(cell.templates), cell.seeds, cell.n_shots, cell.n_test) == (3, (0, 1, 2), (4,), 2000)
    assert "contrast" not in cell.templates


@pytest.mark.parametrize(("name", "n_models"), [("pythia-scaling", 7), ("polypythias-160m", 16)])
def test_plans_over_models_ask_all_of_them_the_same_at_published_steps(name: str, n_models: int) -> None:
    found = plan(f"{name}.toml")
    assert len({model.id for model in found.models}) == len(found.models) == n_models
    (steps,) = {model.steps for model in found.models}
    assert isinstance(steps, tuple)
    assert set(steps) <= set(GRIDS["all"])
    assert (steps[0], steps[-1]) == (0, 143000)
    assert all("contrast" not in cell.templates and len(cell.templates) == 3 for cell in found.tasks)


@pytest.mark.parametrize("name", [name for name in PLANS if "pythia" in name])
def test_plans_with_early_checkpoints_have_the_range_of_float32(name: str) -> None:
    """Attention weights of early checkpoints are below the smallest float16."""
    found = plan(name)
    assert all(model.id.startswith("EleutherAI/pythia-") for model in found.models)
    assert found.dtype in ("float32", "bfloat16")
    if found.dtype == "bfloat16" and name == "pythia-scaling.toml":
        assert "below the smallest float16" in (FOLDER / name).read_text()


def test_the_seed_plan_holds_three_families_of_seeds() -> None:
    found = families(model.id for model in plan("polypythias-160m.toml").models)
    assert {varies: len(models) for (_, varies), models in found.items()} == {
        "data-seed": 4,
        "seed": 10,
        "weight-seed": 4,
    }


def test_the_quick_plan_asks_only_for_published_steps() -> None:
    steps = plan("pythia-70m-quick.toml").models[0].steps
    assert isinstance(steps, tuple)
    assert set(steps) <= set(GRIDS["all"])


def test_the_offline_plan_names_no_repository_of_a_model() -> None:
    found = plan("real-offline.toml")
    assert found.data is not None
    assert all(model.folder is not None for model in found.models)


def test_a_tilde_in_a_plans_paths_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    task = '[[define]]\nname = "own"\nfile = "~/rows.csv"\ncolumns = { t = "t" }\nlabel_column = "l"\nlabels = [0, 1]\n'
    (tmp_path / "plan.toml").write_text(
        'name = "own"\ndata = "~/data"\nencoder = "~"\n[[models]]\nid = "m"\nfolder = "~/steps"\n[[tasks]]\n'
        f'name = "own"\n{task}label_words = ["a", "b"]\ntemplates = [{{ name = "plain", text = "{{t}} {{label}}" }}]\n'
    )
    found = read_plan(tmp_path / "plan.toml")
    home = tmp_path / "home"
    assert found.models[0].folder == home / "steps"
    assert (found.data_folder, found.encoder_folder, found.define[0].file) == (home / "data", home, home / "rows.csv")
