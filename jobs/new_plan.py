"""The text of a new plan, with comments that say what else could be there."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from dynamics.errors import PlanError, unknown

if TYPE_CHECKING:
    import polars as pl

MOST_LABELS = 20
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "answer", "gold")


@dataclass(frozen=True)
class Table:
    """A table of labelled texts that becomes a task: its file as the plan names it, and its columns.

    Attributes:
        file: relative to the plan's folder, or absolute.
        n_rows: of the table.
        text, label: columns of the texts and of their labels.
        labels: the values of the label column, sorted.
    """

    file: str
    n_rows: int
    text: str
    label: str
    labels: tuple[str | int | bool, ...]

    @property
    def task(self) -> str:
        """The task's name, from the file's."""
        return re.sub(r"\W+", "_", Path(self.file).stem, flags=re.ASCII).strip("_") or "own"

    @property
    def words(self) -> tuple[str, ...]:
        """The label words: the values where they are words, else letters."""
        return tuple(map(str, self.labels)) if self.words_are_labels else tuple(ascii_uppercase[: len(self.labels)])

    @property
    def words_are_labels(self) -> bool:
        """Whether every label is a word that can be answered as it is."""
        return all(str(label).isalpha() for label in self.labels)


@dataclass(frozen=True)
class NewPlan:
    """What a new plan is about.

    Attributes:
        name: the plan's.
        model: its name in the tables; without a folder `reference`, or `owner/name` on the Hub.
        folder: of its `step<n>` or `checkpoint-<n>` folders, as the plan names it; None without.
        found: the steps in the folder.
        steps: a named grid or a list, as TOML.
        tasks: names of tasks that come with the project.
        table: a table of the user's own, in place of them.
        n_shots: demonstrations in a prompt.
        gpu: whether each worker has a GPU.
    """

    name: str
    model: str
    folder: str | None
    found: tuple[int, ...]
    steps: str
    tasks: tuple[str, ...]
    table: Table | None
    n_shots: tuple[int, ...]
    gpu: bool


def table_of(table: "pl.DataFrame", file: str, text: str | None, label: str | None) -> Table:
    """The task in a table; columns that are not named are guessed: few values are labels, the longest are texts.

    Raises:
        PlanError: there is no such column, none can be the labels or the texts, or there are too many labels.
    """
    for column in (text, label):
        if column is not None and column not in table.columns:
            raise PlanError(unknown(f"column of {file}:", column, table.columns))
    label = label or _label_column(table, text)
    if label is None:
        raise PlanError(
            f"{file}: no column has 2 to {MOST_LABELS} different values that repeat; name one with --label-column, of "
            f"{', '.join(table.columns)}"
        )
    texts = [column for column in table.columns if column != label]
    if not texts:
        raise PlanError(f"{file} has the column {label} only; a task needs a column of texts too")
    text = text or max(texts, key=lambda column: sum(len(str(value)) for value in table[column]))
    labels = sorted(table[label].drop_nulls().unique().to_list(), key=str)
    if not 2 <= len(labels) <= MOST_LABELS:
        raise PlanError(f"{file}: column {label} has {len(labels)} different values; labels are 2 to {MOST_LABELS}")
    raw = tuple(value if isinstance(value, bool | int | str) else str(value) for value in labels)
    return Table(file, table.height, text, label, raw)


def _label_column(table: "pl.DataFrame", text: str | None) -> str | None:
    """The column named like labels, else the one with fewest values, of those whose values repeat."""
    n_values = {column: table[column].drop_nulls().n_unique() for column in table.columns if column != text}
    likely = [column for column, n in n_values.items() if 2 <= n <= min(MOST_LABELS, table.height // 2)]
    named = [column for column in likely if column.lower() in _LABEL_NAMES]
    return min(named or likely, key=lambda column: n_values[column], default=None)


def plan_text(plan: NewPlan) -> str:
    """The plan as commented TOML, which is valid as it is."""
    head = (
        f"# `pythia-emergence plan FILE` says what this costs; `sweep FILE --out RESULTS` runs it. Every key: "
        f"docs/plans.md\nname = {_toml(plan.name)}\n"
    )
    return "\n".join([head, _model(plan), _tasks(plan), _settings(plan)])


def _model(plan: NewPlan) -> str:
    if plan.folder is None:
        steps = '"all", a list as [0, 512], { from = 0, to = 1000, every = 100 }; of Pythia "paper", "dense"'
        own = "# Checkpoints of your own in step<n> or checkpoint-<n> folders (transformers' Trainer writes those):\n"
        own += '# id = "my-model"\n# folder = "/path/to/checkpoints"    # or relative to this file\n'
        pickle = "# allow_pickle = true    # where a step has .bin weights only\n" if "/" in plan.model else ""
        return f"[[models]]\nid = {_toml(plan.model)}\nsteps = {plan.steps}    # {steps}\n{pickle}{own}"
    steps = ", ".join(map(str, plan.found[:3])) + (f", ... {plan.found[-1]}" if len(plan.found) > 3 else "")
    return (
        f"[[models]]\nid = {_toml(plan.model)}    # its name in tables and figures\n"
        f"folder = {_toml(plan.folder)}    # holds step<n> or checkpoint-<n> folders\n"
        f"steps = {plan.steps}    # found: {steps}; or a list of some\n"
        "# tokens_per_step = 2_097_152    # for axes in tokens: training tokens of one step\n"
        '# tokenizer = "owner/name@revision"    # or a folder: where the checkpoints have no tokenizer.json\n'
    )


def _tasks(plan: NewPlan) -> str:
    shots = f"n_shots = {list(plan.n_shots)}    # demonstrations in a prompt"
    if plan.table is None:
        entries = [
            f"[[tasks]]\nname = {_toml(name)}\n{shots}\n"
            "n_test = 200    # rows that are scored; the paper has 2000\ndemo_seeds = 5    # sets of demonstrations\n"
            for name in plan.tasks
        ]
        return "\n".join([*entries, _COMMENTED_TABLE])
    table, labels = plan.table, _toml(plan.table.labels)
    return f"""\
[[define]]    # a task of your own; docs/custom-tasks.md
name = {_toml(table.task)}
file = {_toml(table.file)}    # {table.n_rows} rows, of which half are scored
columns = {{ text = {_toml(table.text)} }}    # name in templates = column of the file
label_column = {_toml(table.label)}
labels = {labels}
label_words = {_toml(table.words)}    # what the model should answer: one token each, in the order of labels
templates = [    # how a row becomes text; more than one shows what is the wording's
    {{ name = "plain", text = "{{text}}\\nLabel: {{label}}" }},
    {{ name = "named", text = "Text: {{text}}\\nAnswer: {{label}}" }},
]

[[tasks]]
name = {_toml(table.task)}
{shots}
demo_seeds = 5    # sets of demonstrations
"""


_COMMENTED_TABLE = """\
# A task of your own from a CSV, TSV, JSON Lines or Parquet file (docs/custom-tasks.md); name it in [[tasks]] too:
# [[define]]
# name = "mine"
# file = "mine.csv"
# columns = { text = "review" }    # name in templates = column of the file
# label_column = "label"
# labels = ["neg", "pos"]
# label_words = ["negative", "positive"]    # one token each, in the order of labels
# templates = [{ name = "plain", text = "{text}\\nLabel: {label}" }]
"""


def _settings(plan: NewPlan) -> str:
    k = "[fits]\nn_labelled = [12, 24]    # labelled rows that COMP RW and Calib+ learn from\n"
    where = (
        "[resources]    # of each worker\nnum_gpus = 1    # 0.25: four workers on a GPU\n"
        if plan.gpu
        else "[resources]    # of each worker\nnum_cpus = 1    # num_gpus = 1 for a GPU\n"
    )
    track = '# At the top of the file: log = "wandb" or "mlflow" logs progress and curves there too.\n'
    return f"{k}\n{where}\n{track}"


def _toml(value: str | Sequence[object]) -> str:
    """A string, or a list of strings, numbers and truth values, as TOML."""
    return json.dumps(value if isinstance(value, str) else list(value), ensure_ascii=False)
