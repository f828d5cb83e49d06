"""TaskPlan: a task of a plan and the grid of its prompts, and tasks that the plan defines itself."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dynamics.tasks import Task, Template
from dynamics.tasks.custom import Definition, custom_task
from jobs.plan_values import Count, LocalPath, Seed, Shots, Strict, from_plan


class TaskPlan(Strict):
    """A task and the grid of its prompts; `demo_seeds = 5` means seeds 0 to 4."""

    name: str
    templates: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    demo_seeds: Annotated[int, Field(ge=1, le=1000)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = 5
    n_shots: Annotated[tuple[Shots, ...], Field(min_length=1)] = (4,)
    n_test: Annotated[int, Field(ge=1)] = 2000
    n_train: Count = 24

    @property
    def seeds(self) -> tuple[int, ...]:
        """The demonstration seeds, spelled out."""
        return tuple(range(self.demo_seeds)) if isinstance(self.demo_seeds, int) else self.demo_seeds


class CustomTemplate(Strict):
    """A template of a task that the plan defines; `dynamics.tasks.Template` says what its parts are."""

    name: str
    text: str
    separator: str = "\n\n"
    label_words: tuple[str, ...] | None = None


class CustomTask(Strict):
    """A task defined in the plan without code: a `[[define]]` entry. See docs/custom-tasks.md."""

    name: str
    file: LocalPath | None = None
    train_file: LocalPath | None = None
    test_file: LocalPath | None = None
    columns: dict[str, str]
    label_column: str
    labels: tuple[bool | int | str, ...]
    label_words: tuple[str, ...]
    templates: tuple[CustomTemplate, ...]
    group: str | None = None

    def task(self, folder: Path) -> Task:
        """The task, its files relative to the plan's folder.

        Raises:
            PlanError: the definition contradicts itself.
        """
        keys = {"all": "file", "train": "train_file", "test": "test_file"}
        files = {split: from_plan(folder, getattr(self, key), key) for split, key in keys.items()}
        templates = tuple(Template(**template.model_dump()) for template in self.templates)
        return custom_task(
            Definition(
                name=self.name,
                files={split: file for split, file in files.items() if file is not None},
                columns=self.columns,
                label_column=self.label_column,
                labels=self.labels,
                label_words=self.label_words,
                templates=templates,
                group=self.group,
            )
        )
