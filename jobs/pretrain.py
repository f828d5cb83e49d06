"""`python -m jobs.pretrain --out DIR`: pretrain the reference suite again. The same command resumes a stopped run."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dynamics.command_line import command
from dynamics.reference.manifest import LoggedLoss, Manifest
from dynamics.reference.recipe import Recipe, default_checkpoint_steps

if TYPE_CHECKING:
    from dynamics.reference.pretraining import OnStep

SECONDS_BETWEEN_LINES = 10.0


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run; the same folder again resumes it.")],
    steps: Annotated[int, typer.Option(help="Updates in all; another number is another run.")] = Recipe.steps,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the documents.")] = Recipe.seed,
    threads: Annotated[
        int, typer.Option(help="Torch threads; the shipped weights were made with 1, more change their last bits.")
    ] = 1,
) -> None:
    """Pretrain the reference model and keep its checkpoints."""
    console = Console(stderr=True)
    try:
        recipe = make_recipe(steps, seed)
        use_threads(threads)
        from dynamics.reference.pretraining import pretrain

        manifest = with_progress(recipe, console, lambda on_step: pretrain(recipe, out, on_step))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except FloatingPointError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command resumes from the last saved step", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{len(manifest.steps)} checkpoints in {out}, {manifest.seconds:.0f} s of training")


def make_recipe(steps: int, seed: int) -> Recipe:
    """The default recipe with this seed, stopped (schedule included) after this many updates."""
    if steps < 1:
        raise ValueError(f"--steps is {steps}; give a whole number from 1 up")
    return dataclasses.replace(Recipe(), steps=steps, seed=seed, checkpoint_steps=default_checkpoint_steps(steps))


def use_threads(threads: int) -> None:
    """Let torch use this many threads.

    Raises:
        ValueError: it is not a positive number.
    """
    if threads < 1:
        raise ValueError(f"--threads is {threads}; give a whole number from 1 up")
    import torch

    torch.set_num_threads(threads)


def with_progress(recipe: Recipe, console: Console, run: Callable[["OnStep"], Manifest]) -> Manifest:
    """Run with a bar in a terminal, and with a plain line every few seconds elsewhere."""
    if not console.is_terminal:
        return run(plain_lines(recipe.steps, console))
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=recipe.steps)
        return run(
            lambda logged: progress.update(
                task, completed=logged.step, description=f"label loss {logged.label_loss:.2f}"
            )
        )


def plain_lines(steps: int, console: Console) -> "OnStep":
    """A reporter that prints the step, the losses and the time left, at most once in a few seconds."""
    started = last = time.monotonic()
    first = 0

    def report(logged: LoggedLoss) -> None:
        nonlocal last, first
        first = first or logged.step
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and logged.step != steps:
            return
        last = now
        left = (now - started) / (logged.step - first + 1) * (steps - logged.step)
        losses = f"loss {logged.loss:.3f}  label loss {logged.label_loss:.3f}"
        console.print(f"step {logged.step}/{steps}  {losses}  {left:.0f} s left", highlight=False)

    return report


app = command(main)

if __name__ == "__main__":
    app()
