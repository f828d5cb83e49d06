"""`python -m jobs.plan init [FILE]`: write a new plan, from three questions or from flags."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from dynamics.command_line import command, interrupt_exits_130, user_errors_exit_2
from dynamics.errors import CheckpointError, PlanError, UserError, unknown
from jobs.new_plan import NewPlan, Table, plan_text, table_of

REFERENCE = "reference"
_DEFAULT_TASK = {True: "sentiment", False: "sst2"}
"""For the embedded model, and for any other."""


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="plan to write")] = Path("plan.toml"),
    model: Annotated[
        str | None, typer.Option(help="a folder of step<n> or checkpoint-<n> folders, owner/name, or `reference`")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="name of a task, may be repeated; or a CSV, TSV, JSONL or Parquet file")
    ] = None,
    gpu: Annotated[bool | None, typer.Option("--gpu/--cpu", help="what each worker runs on")] = None,
    steps: Annotated[str | None, typer.Option(help="named grid, or a list as [0, 512]; default: all")] = None,
    shots: Annotated[list[int] | None, typer.Option(min=0, help="demonstrations in a prompt, may be repeated")] = None,
    text_column: Annotated[str | None, typer.Option(help="of your file; default: the longest texts")] = None,
    label_column: Annotated[str | None, typer.Option(help="of your file; default: few values")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace FILE if it exists")] = False,
) -> None:
    """Write a commented plan: asks three questions, or none where a flag is given or there is no terminal.

    Exit code 0: written; 2: an answer is wrong or FILE exists; 130: interrupted.
    """
    with user_errors_exit_2(), interrupt_exits_130("nothing was written"):
        if file.exists() and not force:
            raise PlanError(f"{file} exists; give another name, or --force to replace it")
        if sys.stdin.isatty() and model is None and not task and gpu is None:
            model, task, gpu = _asked(file, steps, text_column, label_column)
        model = model or REFERENCE
        plan = _plan(file, model, task or [], bool(gpu), steps, tuple(shots or ()), text_column, label_column)
        _write(file, plan_text(plan))
    typer.echo("\n".join(_choices(plan)))
    typer.echo(f"wrote {file}. Look at it, then:")
    for line in (f"plan {file}", f"sweep {file} --out results", "draw --results results"):
        typer.echo(f"    pythia-emergence {line}")


def _choices(plan: NewPlan) -> Iterator[str]:
    """What the plan has in it, chosen or guessed, a line each."""
    grid = f"steps {plan.steps}" + (f", found: {', '.join(map(str, plan.found))}" if plan.found else "")
    yield f"model {plan.model}; {grid}"
    if plan.table:
        t = plan.table
        columns = f"texts are in column {t.text}, labels in {t.label}: {t.labels}"
        yield f"task {t.task}, from {t.file}: {t.n_rows} rows; {columns}"
        yield f"label words, which the model should answer: {', '.join(t.words)}"
        if not t.words_are_labels:
            yield (
                "    letters, since the labels are not single words of letters; better write into `label_words` of the "
                "plan, for each label, the word that says what it means, as negative and positive"
            )
    else:
        yield f"tasks: {', '.join(plan.tasks)}"
    shots = " or ".join(map(str, plan.n_shots))
    yield f"{shots} demonstrations in a prompt; {'a GPU' if plan.gpu else 'a CPU core'} a worker"


def _asked(file: Path, steps: str | None, text: str | None, label: str | None) -> tuple[str, list[str], bool]:
    """The answers to the three questions, each asked again until it can be used."""
    typer.echo("Three questions; Enter takes what is in brackets.")
    model = _until_right(
        "1. Whose checkpoints? A folder of step<n> or checkpoint-<n> folders, a model on the Hub as\n"
        f"   EleutherAI/pythia-410m, or {REFERENCE} (a toy that comes with the project)",
        REFERENCE,
        lambda answer: _is_folder(answer) and _steps(Path(answer).expanduser(), steps),
    )
    task = _until_right(
        "2. Which task? A CSV, TSV, JSONL or Parquet file of your own, or names such as sst2, agnews (with a comma\n"
        "   between)",
        _DEFAULT_TASK[model == REFERENCE],
        lambda answer: _table(file, model, _names(answer), text, label),
    )
    return model, _names(task), typer.confirm("3. Run on GPUs?", default=False)


def _until_right(question: str, default: str, check: Callable[[str], object]) -> str:
    """The first answer that `check` does not refuse; says why it refuses others."""
    while True:
        answer = typer.prompt(question, default=default).strip()
        try:
            check(answer)
        except UserError as error:
            typer.echo(f"   {error}")
        else:
            return answer


def _names(answer: str) -> list[str]:
    return [name.strip() for name in answer.split(",")]


def _plan(
    file: Path,
    model: str,
    tasks: list[str],
    gpu: bool,
    steps: str | None,
    shots: tuple[int, ...],
    text: str | None,
    label: str | None,
) -> NewPlan:
    """The plan of these answers.

    Raises:
        PlanError, CheckpointError: there is no such folder, model, task or file, or it cannot be used.
    """
    folder = Path(model).expanduser() if _is_folder(model) else None
    found = _steps(folder, steps) if folder else ()
    table = _table(file, model, tasks, text, label)
    is_reference = model == REFERENCE
    grid = "paper" if folder is None and "/pythia-" in model else "all"
    return NewPlan(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem) or "plan",
        model=folder.resolve().name if folder else model,
        folder=_from(file, folder) if folder else None,
        found=found,
        steps=steps if steps and steps.lstrip().startswith("[") else f'"{steps or grid}"',
        tasks=tuple(tasks or [_DEFAULT_TASK[is_reference]]) if table is None else (),
        table=table,
        n_shots=shots or (8 if is_reference else 4,),
        gpu=gpu,
    )


def _is_folder(model: str) -> bool:
    """Whether a model is a folder.

    Raises:
        PlanError: it is neither a folder, nor the embedded model, nor named as on the Hub.
    """
    if Path(model).expanduser().is_dir():
        return True
    on_hub = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model)
    if model != REFERENCE and not on_hub:
        raise PlanError(
            f"{unknown('model', model, [REFERENCE])}, a model on the Hub as EleutherAI/pythia-70m, or a folder that "
            f"holds step<n> or checkpoint-<n> folders: there is no folder {model}"
        )
    return False


def _steps(folder: Path, wanted: str | None) -> tuple[int, ...]:
    """The steps in a folder, or its own model where that is wanted.

    Raises:
        CheckpointError: it has none; names the folder below it that has, where there is one.
        PlanError: it is itself one checkpoint.
    """
    from dynamics.step_folders import ITSELF, steps_in

    try:
        names = steps_in(folder.name, folder, ITSELF if wanted == ITSELF else None, None)[1]
    except CheckpointError as error:
        below = [path for path in sorted(folder.iterdir()) if path.is_dir() and _has_steps(path)]
        if len(below) != 1:
            raise
        raise CheckpointError(f"{folder} contains no checkpoints, but {below[0]} does; give that folder") from error
    return tuple(sorted(names))


def _has_steps(folder: Path) -> bool:
    from dynamics.step_folders import steps_in

    try:
        return bool(steps_in(folder.name, folder, None, None)[1])
    except (CheckpointError, PlanError):
        return False


def _table(file: Path, model: str, tasks: list[str], text: str | None, label: str | None) -> Table | None:
    """The one file among the tasks; None where all are names of tasks that come with the project.

    Raises:
        PlanError: an unknown task, a file that cannot be read, a file and others, or one for the embedded model.
    """
    from dynamics.tasks import TASKS

    files = [name for name in tasks if Path(name).suffix and name not in TASKS]
    for name in tasks:
        if name not in TASKS and name not in files:
            raise PlanError(f"{unknown('task', name, TASKS, shown=len(TASKS))}; or a CSV file of your own")
    if not files:
        return None
    if len(tasks) > 1:
        raise PlanError(f"--task {files[0]}: one file and nothing beside it; add other [[tasks]] to the plan")
    if model == REFERENCE:
        raise PlanError(
            f"the model {REFERENCE!r} knows the 100 words of its own tasks only; give --model with a folder of "
            "checkpoints, or one on the Hub as EleutherAI/pythia-70m, for texts of your own"
        )
    from dynamics.tasks.files import read_table

    own = Path(files[0]).expanduser()
    return table_of(read_table(own), _from(file, own), text, label)


def _from(file: Path, path: Path) -> str:
    """A path as a plan in this file names it: relative where it is below the plan's folder, else absolute."""
    folder, target = file.absolute().parent, Path(os.path.normpath(path.absolute()))
    return str(target.relative_to(folder) if target.is_relative_to(folder) else target)


def _write(file: Path, text: str) -> None:
    """Write a plan that is valid.

    Raises:
        PlanError: it is not; or it cannot be written.
    """
    from jobs.sweep_plan import parse_plan

    parse_plan(text, f"the plan for {file}")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PlanError(f"cannot write {file}: {error.strerror}; name a file in a folder you may write to") from error


app = command(init)

if __name__ == "__main__":
    app()
