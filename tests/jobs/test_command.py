"""The command `pythia-emergence`: what it lists, what it refuses, and that neither waits for heavy libraries."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dynamics.command_line import imported
from jobs.__main__ import COMMANDS, app, version
from jobs.shipped_plans import shipped_plans
from tests.models import write_plan

HEAVY = ("torch", "transformers", "ray", "pyarrow", "polars", "scipy", "matplotlib", "wandb", "mlflow")
PLAN = 'name = "p"\n[[models]]\nid = "reference"\n[[tasks]]\nname = "sentiment"\n'


def run(*arguments: object) -> Result:
    """`pythia-emergence ARGUMENTS`."""
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(map(str, arguments)))


def ended_light(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `pythia-emergence ARGUMENTS` in a process of its own, which must import nothing heavy."""
    code = (
        "import sys\nfrom jobs.__main__ import app\n"
        f"try:\n    app({list(map(str, arguments))!r})\n"
        f"except SystemExit as end:\n    print('imported', [n for n in {HEAVY!r} if n in sys.modules], end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, _, exit_code = done.stdout.rstrip().rpartition("imported ")[2].rpartition(" ")
    assert heavy == "[]", done.stderr
    return int(exit_code), done.stdout + done.stderr


def test_the_help_lists_every_command_and_fits_a_screen() -> None:
    shown = run("--help").output.splitlines()
    assert len(shown) <= 24
    assert all(len(line) <= 80 for line in shown)
    assert [line.split()[0] for line in shown[-len(COMMANDS) :]] == list(COMMANDS)
    assert not [line for line in shown if line.endswith("...") and "[ARGS]" not in line]  # no help is cut off


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_the_module_s(name: str) -> None:
    target, _ = COMMANDS[name]
    options = {option for parameter in imported(target).params for option in parameter.opts}
    assert options
    assert run(name, "--help").exit_code == 0


def test_the_version_names_a_commit() -> None:
    assert run("--version").output.startswith("pythia-emergence ")
    assert "commit" in version()


def test_a_mistyped_command_names_the_nearest() -> None:
    refused = run("swep")
    assert refused.exit_code == 2
    assert "Did you mean 'sweep'?" in refused.output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("analyse", "draw")])
def test_help_imports_nothing_heavy(name: str) -> None:
    assert ended_light(name, "--help")[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "unknown plan 'plan'"),
        ("name = ", "is not valid TOML"),
        (PLAN.replace("id =", "ids ="), "did you mean 'id'?"),
        (PLAN.replace('"sentiment"', '"sentimnt"'), "did you mean 'sentiment'?"),
        (PLAN.replace('"reference"', '"refrence"'), "only 'reference' is embedded"),
        (PLAN.replace('"sentiment"', '"sst2"\ntemplates = ["papr"]'), "did you mean 'paper'?"),
        (PLAN + "n_shots = 4", "tasks.0.n_shots = 4: Input should be a list"),
        (PLAN + "n_test = 0", "tasks.0.n_test = 0"),
        (PLAN.replace('"reference"', '"reference"\nsteps = "papper"'), "has no grid 'papper'"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_heavy_is_imported(text: str | None, said: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    if text:
        plan.write_text(text)
    exit_code, output = ended_light("sweep", plan, "--out", tmp_path / "out")
    assert exit_code == 2
    assert said in output
    assert not (tmp_path / "out").exists()


def test_a_finished_sweep_imports_no_torch(tmp_path: Path, suite_folder: Path, results: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    code = (
        "import sys\nfrom jobs.sweep import app\n"
        f"app([{str(plan)!r}, '--out', {str(results)!r}], standalone_mode=False)\n"
        "sys.exit(' '.join({'torch', 'transformers', 'ray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 already done, 0 to run" in done.stdout


def test_a_process_that_only_submits_units_imports_no_torch() -> None:
    code = "import sys, jobs.running; sys.exit(' '.join({'torch', 'transformers', 'ray'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def completed(*words: str) -> list[str]:
    """What the shell offers for the last of these words."""
    environment = {
        "_PYTHIA_EMERGENCE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("pythia-emergence", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner(env=environment).invoke(app, prog_name="pythia-emergence")
    return done.output.split()


def test_the_shell_completes_commands_plans_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refined.toml").write_text("")
    (tmp_path / "ref.csv").write_text("")
    assert completed("swe") == ["sweep"]
    shipped = [name for name in shipped_plans() if name.startswith("ref")]
    assert completed("sweep", "ref") == [*shipped, "refined.toml"]


def test_a_shipped_plan_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run("plan", "reference", "--set", "models.0.steps=[0]", "--set", "tasks.2.demo_seeds=1")
    assert shown.exit_code == 0, shown.output
    assert (
        "reference: 36 units (1 checkpoint x 36 sets of prompts: tasks, templates, shots and seeds), 0 already done"
        in shown.output
    )
    (tmp_path / "reference").mkdir()
    assert run("plan", "reference").exit_code == 0
    refused = run("plan", tmp_path)
    assert refused.exit_code == 2
    assert "is a folder; give a plan" in refused.output
