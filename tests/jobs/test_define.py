"""Plans that define tasks, name a data folder, or pin a dataset; and the example of docs/custom-tasks.md, run."""

import pickle
import re
from pathlib import Path

import polars as pl
import pytest
from transformers import PreTrainedTokenizerBase
from typer.testing import CliRunner

import analysis
from dynamics.errors import PlanError
from dynamics.prompts import build_prompts
from dynamics.reference.tokenizer import build_tokenizer
from dynamics.results.store import open_store, parts
from dynamics.tasks.custom import CustomRows
from jobs.plan import app as plan_app
from jobs.rescoring import rescore
from jobs.run_checkpoint import run_checkpoint
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import SweepPlan, parse_plan, read_plan
from tests.dynamics.raw_rows import write_folder
from tests.models import tiny_suite
from tests.real_rows import needs_real_rows, neox_tokenizer
from tests.works import units_of, works_of

PAGE = Path(__file__).parents[2] / "docs" / "custom-tasks.md"
BLOCKS = dict(re.findall(r"```(csv|toml)\n(.*?)```", PAGE.read_text().split("## What each key means")[0], re.DOTALL))
REFERENCE = 'name = "p"\n[[models]]\nid = "reference"\nsteps = [0]\n'
SST2 = '[[tasks]]\nname = "sst2"\n'


def example(folder: Path, **changes: str) -> SweepPlan:
    """The page's plan on a random model that knows the page's words, with parts of its text changed."""
    said = (BLOCKS["csv"] + BLOCKS["toml"]).replace(",", " ").replace("\\n", " ")
    words = sorted(set(re.findall(r'[^\s"]+', said)))
    tiny_suite(folder / "tiny", build_tokenizer(words, 256), steps=(0,))
    text = BLOCKS["toml"].replace('"EleutherAI/pythia-70m"', f'"tiny"\nfolder = "{folder}/tiny"')
    text = text.replace("[0, 512, 143000]", "[0]")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "desk.csv").write_text(BLOCKS["csv"])
    (folder / "desk.toml").write_text(text)
    return read_plan(folder / "desk.toml")


def plan_of(folder: Path, text: str) -> SweepPlan:
    """A plan from its text."""
    (folder / "p.toml").write_text(text)
    return read_plan(folder / "p.toml")


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    plan = example(tmp_path)
    units = units_of(plan)
    assert len(units) == 3 * 2
    (work,) = pickle.loads(pickle.dumps(works_of(plan)))
    store = open_store(tmp_path / "results", create=True)
    outcomes = run_checkpoint(work, store)
    assert [outcome.status for outcome in outcomes] == ["done"] * 6, outcomes
    done = pl.read_parquet(tmp_path / "results/units/**/*.parquet", hive_partitioning=False)
    assert set(done["task_source"]) == {"all desk.csv: 12 rows, halved: 6 pool, 6 test"}
    assert set(done["label_words"]) == {"Sports Business"}
    assert set(done["n_test"]) == {6}
    pair = analysis.run("contrast", tmp_path / "results").filter("contrastive")
    assert set(pair["template"]) == {"section", "contrast"}


@needs_real_rows
def test_the_example_of_the_page_holds_under_the_pythia_tokenizer(tmp_path: Path) -> None:
    task = example(tmp_path).task_by_name["desk"]
    for template in task.templates:
        prompts = build_prompts(task, template.name, neox_tokenizer(), demo_seed=0, n_shots=2, n_test=6)
        assert prompts.label_ids == (15000, 10518)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_words =": "label_word = 1\nlabel_words ="}, r"unknown key 'label_word'; did you mean 'label_words'\?"),
        ({'text = "{text}\\nThis': 'txt = "{text}\\nThis'}, "define.0.templates.1.text is missing"),
        ({'labels = ["sport", "money"]': 'labels = ["sport", "cash"]'}, "value of column desk in row 2 of .*desk.csv"),
        ({'name = "desk"\ndemo': 'name = "dusk"\ndemo'}, "unknown task 'dusk'; did you mean 'desk'"),
        ({'name = "desk"\nfile': 'name = "rte"\nfile'}, "task rte: there is a task of this name"),
        ({'file = "desk.csv"': 'file = "dusk.csv"'}, "there is no file .*dusk.csv"),
    ],
)
def test_a_faulty_definition_is_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        units_of(example(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_notes_on_rows_are_part_of_the_plans_report(tmp_path: Path) -> None:
    example(tmp_path)
    swallowed = '"Shares fall, he said,money\nGoal, goal",sport\n'
    (tmp_path / "desk.csv").write_text(BLOCKS["csv"] + swallowed)
    note = f"task desk: row 13 of {tmp_path}/desk.csv has a field that holds a comma and a line break, as no other does"
    shown = CliRunner().invoke(plan_app, [str(tmp_path / "desk.toml")])
    assert shown.exit_code == 0, shown.output
    assert note in shown.output
    swept = CliRunner().invoke(
        sweep_app, [str(tmp_path / "desk.toml"), "--out", str(tmp_path / "out"), "--executor", "inline"]
    )
    assert note in swept.stderr


def test_groups_are_kept_whole_counted_and_in_the_tables(tmp_path: Path) -> None:
    """The page's rows twice, two texts to a source: the four rows of each are on one side, and in one split."""
    header, *lines = BLOCKS["csv"].splitlines()
    plan = example(tmp_path, **{'label_column = "desk"': 'label_column = "desk"\ngroup = "source"', "[2]": "[2, 4]"})
    table = [f"{line},s{i // 2}" for i, line in enumerate(lines)] * 2
    (tmp_path / "desk.csv").write_text("\n".join([f"{header},source", *table]) + "\n")
    shown = CliRunner().invoke(plan_app, [str(tmp_path / "desk.toml")])
    assert re.search(r"task desk: \d+ of 24 rows changed sides, so that equal texts and groups stay", shown.output)
    (work,) = works_of(read_plan(tmp_path / "desk.toml"))
    assert {o.status for o in run_checkpoint(work, open_store(tmp_path / "results", create=True))} == {"done"}
    of = {
        name: pl.read_parquet(tmp_path / f"results/{name}/**/*.parquet", hive_partitioning=False)
        for name in ("units", "predictions", "contributions")
    }
    rows = plan.task_by_name["desk"].load(None)
    assert rows.n_moved > 0
    assert of["units"].select("n_moved", "n_dropped").unique().rows() == [(rows.n_moved, 0)]
    known = {row.example_id: row.group for row in rows.pool + rows.test}
    for name in ("predictions", "contributions"):
        assert all(known[example] == group for example, group in of[name].select("example_id", "group").iter_rows())
        by_split = of[name].group_by("split").agg(pl.col("group").unique())
        assert not set.intersection(*map(set, by_split["group"])), "train and test share a group"
    tested = of["predictions"].filter(split="test")
    assert set(of["units"]["n_groups"]) == {tested["group"].n_unique()} == {3}
    rescore(open_store(tmp_path / "results"), parts(open_store(tmp_path / "results"))[0])
    after = pl.read_parquet(tmp_path / "results/predictions/**/*.parquet", hive_partitioning=False)
    assert after.sort("example_id", "unit_id").equals(of["predictions"].sort("example_id", "unit_id"))


def test_a_data_folder_counts_from_the_plan_and_reaches_the_worker(tmp_path: Path) -> None:
    write_folder(tmp_path / "rows", "sst2")
    plan = plan_of(tmp_path, 'data = "rows"\n' + REFERENCE + SST2)
    (work,) = works_of(plan)
    assert work.settings.data == tmp_path / "rows"
    assert work.settings.tasks["sst2"].load(work.settings.data).source.startswith("pool local sst2/train.jsonl")


PATHS = {
    "folder": 'name = "p"\n[[models]]\nid = "tiny"\nfolder = "PATH"\n[[tasks]]\nname = "sentiment"\n',
    "data": 'data = "PATH"\n' + REFERENCE + SST2,
    "encoder": 'encoder = "PATH"\nprompting_baselines = true\n' + REFERENCE + '[[tasks]]\nname = "sentiment"\n',
    "file": REFERENCE + BLOCKS["toml"][BLOCKS["toml"].index("[[define]]") :].replace("desk.csv", "PATH"),
}


@pytest.mark.parametrize("key", PATHS)
def test_every_path_counts_from_the_plan_and_not_from_the_working_directory(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    for place in (tmp_path / "here", elsewhere / "there", elsewhere / "here"):
        place.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)

    def found(name: str) -> Path | None:
        plan = plan_of(tmp_path, PATHS[key].replace("PATH", name))
        if key == "file":
            load = plan.task_by_name["desk"].load
            assert isinstance(load, CustomRows)
            return load.definition.files["all"]
        return {"folder": plan.models[0].folder, "data": plan.data_folder, "encoder": plan.encoder_folder}[key]

    assert found("here") == tmp_path / "here"
    assert found(str(elsewhere / "there")) == elsewhere / "there"
    assert found("nowhere") == tmp_path / "nowhere"
    with pytest.raises(PlanError) as caught:
        found("there")
    assert str(caught.value) == (
        f"{key} = 'there': there is no {tmp_path}/there, and a plan's paths count from the plan's folder; the working "
        f"directory has {elsewhere}/there: give this path if it is meant"
    )


def test_a_models_folder_is_found_beside_the_plan(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    tiny_suite(tmp_path / "runs" / "tiny", tokenizer, steps=(0, 8))
    units = units_of(plan_of(tmp_path, PATHS["folder"].replace("PATH", "runs/tiny")))
    assert {unit.checkpoint.folder for unit in units} == {tmp_path / f"runs/tiny/step{step}" for step in (0, 8)}


def test_a_byte_order_mark_before_a_plan_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbf" + (REFERENCE + SST2).encode())
    assert read_plan(tmp_path / "p.toml").name == "p"
    assert parse_plan((tmp_path / "p.toml").read_text(encoding="utf-8"), "saved").name == "p"
    (tmp_path / "p.toml").write_bytes((REFERENCE + SST2).encode("utf-16"))
    with pytest.raises(PlanError, match=r"p.toml is not valid TOML: .*; save it as UTF-8"):
        read_plan(tmp_path / "p.toml")


def test_without_the_rows_the_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="task sst2: no validation split: looked for data/validation-00000-of"):
        units_of(plan_of(tmp_path, 'data = "rows"\n' + REFERENCE + SST2))


def test_a_pinned_repository_must_be_one_that_is_read(tmp_path: Path) -> None:
    text = REFERENCE + SST2 + '[revisions]\n"{}" = "' + "a" * 40 + '"\n'
    pinned = plan_of(tmp_path, text.format("stanfordnlp/sst2")).task_by_name["sst2"]
    assert "stanfordnlp/sst2@" + "a" * 40 in pinned.source
    with pytest.raises(
        PlanError, match="unknown repository in `revisions`: 'stanford/sst2'; did you mean 'stanfordnlp/"
    ):
        units_of(plan_of(tmp_path, text.format("stanford/sst2")))
