"""Custom tasks: a table of the user's own, with its columns, labels and templates described in a plan."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter

from dynamics.errors import PlanError, unknown
from dynamics.tasks import TASKS, Row, Task, TaskRows, Template
from dynamics.tasks.groups import halved, separated
from dynamics.tasks.rows import Columns, SplitRows, table_rows


@dataclass(frozen=True)
class Definition:
    """Description of a task in a plan.

    Attributes:
        name: key in plans and tables; letters, digits and underscores.
        files: `{"train": ..., "test": ...}`, or `{"all": ...}` for one file, which is halved (seeded) label by label.
        columns: template field -> column.
        label_column: the column of the gold label.
        labels: its raw values, in label order.
        label_words: the label word of each of them.
        templates: at least one.
        group: the column of what rows that belong together have in common; None where no rows do.
    """

    name: str
    files: Mapping[str, Path]
    columns: Mapping[str, str]
    label_column: str
    labels: tuple[str | int | bool, ...]
    label_words: tuple[str, ...]
    templates: tuple[Template, ...]
    group: str | None = None


def custom_task(definition: Definition) -> Task:
    """The task of a definition; its prompts pass the same checks as those of registered tasks. Reads no file yet.

    Raises:
        PlanError: the definition is invalid; names the task, the value and the remedy.
    """
    if problems := _problems(definition):
        raise PlanError(f"task {definition.name}: {problems[0]}")
    return Task(
        name=definition.name,
        n_labels=len(definition.labels),
        label_words=definition.label_words,
        templates=definition.templates,
        load=CustomRows(definition),
        source="defined in the plan: " + ", ".join(path.name for path in definition.files.values()),
    )


@dataclass(frozen=True)
class CustomRows:
    """Reader of a definition's rows; ignores the plan's `data` folder, since the definition names its files."""

    definition: Definition

    def __call__(self, folder: Path | None = None) -> TaskRows:  # noqa: ARG002 - every task is loaded with it
        """All rows.

        Raises:
            PlanError: a file cannot be read, has no such column or an unlisted label, a label has too few rows, or both
                files hold the same rows.
        """
        files, where = self.definition.files, f"task {self.definition.name}"
        splits = {split: self._read(split, path) for split, path in files.items()}
        source = "; ".join(split.source for split in splits.values())
        notes = tuple(note for split in splits.values() for note in split.notes)
        texts = tuple(fields for template in self.definition.templates if (fields := _text_fields(template)))
        if "all" in splits:
            split = splits["all"].rows
            self._check_labels(split, files["all"], 2, "one to demonstrate and one to test")
            rows = halved(split, where, texts)
            source += f", halved: {len(rows.pool)} pool, {len(rows.test)} test"
        else:
            for name, split in splits.items():
                self._check_labels(split.rows, files[name], 1, f"in the {name} file")
            rows = separated(splits["train"].rows, splits["test"].rows, where, texts)
        return replace(rows, source=source, notes=notes + rows.notes)

    def _read(self, split: str, path: Path) -> SplitRows:
        from dynamics.tasks.files import read_tables  # here, since plans are checked without reading rows

        definition = self.definition
        groups = (definition.group,) if definition.group else ()
        columns = Columns(definition.columns, definition.label_column, definition.labels, groups=groups)
        table, notes = read_tables([path])
        rows = table_rows(table, columns, prefix=f"{definition.name}-{split}", where=f"{path} (task {definition.name})")
        return SplitRows(rows, f"{split} {path.name}: {len(rows)} rows", notes)

    def _check_labels(self, rows: Sequence[Row], path: Path, minimum: int, reason: str) -> None:
        definition, counts = self.definition, Counter(row.gold for row in rows)
        for gold, label in enumerate(definition.labels):
            if counts[gold] < minimum:
                raise PlanError(
                    f"task {definition.name}: {path} has {counts[gold]} rows with {definition.label_column} = "
                    f"{str(label)!r} and {minimum} are needed ({reason}); add rows, or take it out of `labels` and "
                    "`label_words`"
                )


def _problems(definition: Definition) -> list[str]:
    """Messages about everything that is wrong with a definition, in the order of its keys."""
    raw, words = [str(label) for label in definition.labels], definition.label_words
    errors = []
    if not re.fullmatch(r"\w+", definition.name, re.ASCII):
        errors.append("a name has letters, digits and underscores only")
    if definition.name in TASKS:
        errors.append("there is a task of this name; choose another")
    if len(raw) < 2 or len(set(raw)) < len(raw):
        errors.append(f"labels are {', '.join(raw) or 'none'}; list at least two different values of the label column")
    if len(words) != len(raw) or len(set(words)) < len(words):
        errors.append(f"label_words are {', '.join(words)}; give {len(raw)} different words, one for each of `labels`")
    names = [template.name for template in definition.templates]
    if not names or len(set(names)) < len(names):
        errors.append(f"templates are {', '.join(names) or 'none'}; give at least one, each with a name of its own")
    if set(definition.files) not in ({"all"}, {"train", "test"}):
        errors.append("give either `file`, or both `train_file` and `test_file`")
    return errors + [
        message for template in definition.templates for message in _template_problems(template, definition)
    ]


def _text_fields(template: Template) -> tuple[str, ...]:
    """The fields of a row that a template names."""
    return tuple(sorted({field for _, field, _, _ in Formatter().parse(template.text) if field} - {"label"}))


def _template_problems(template: Template, definition: Definition) -> list[str]:
    where = f"template {template.name}: "
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template.text) if field is not None]
    except ValueError as error:
        return [f"{where}{error} in its text; write {{{{ and }}}} for literal braces"]
    errors = []
    if not template.text.endswith(" {label}") or fields.count("label") > 1:
        errors.append(f"{where}the text must end in ' {{label}}' and name it once; it is {template.text!r}")
    errors += [
        where + unknown("field", field, [*definition.columns, "label"]) + "; add it to `columns`"
        for field in fields
        if field not in definition.columns and field != "label"
    ]
    if template.label_words and len(template.label_words) != len(definition.labels):
        errors.append(f"{where}it has {len(template.label_words)} label words for {len(definition.labels)} labels")
    return errors
