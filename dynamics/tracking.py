"""Trackers, W&B and MLflow: a run of one holds a sweep's progress and curves and the page of its figures.

A run belongs to a results folder, by its path: sweeps that resume, and `figures --log`, go on with the same run. Where
it is kept is decided by the tracker's own environment variables (WANDB_MODE, MLFLOW_TRACKING_URI ...); nothing of the
environment, the command or the code is sent.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from dynamics.errors import PlanError, UserError, first_line
from dynamics.hub.names import redact
from dynamics.identity import short_hash
from dynamics.results.places import Place

Tracker = Literal["wandb", "mlflow"]
PROJECT = "pythia-emergence"
"""Name of the W&B project and of the MLflow experiment."""
_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Run:
    """A run of a tracker that is open.

    Attributes:
        log: logs numbers by name at a value of an axis, `units_ended` or `training_step`.
        add_plan: records the text of a plan under its name.
        add_page: sends a folder with a page and its pictures.
        close: ends the run, once what was logged is sent.
    """

    log: Callable[[str, int, Mapping[str, float]], None]
    add_plan: Callable[[str, str], None]
    add_page: Callable[[Path], None]
    close: Callable[[], None]


def check_installed(tracker: Tracker | None) -> None:
    """Check that a tracker's package is there, without importing it.

    Raises:
        PlanError: it is not; with the line that installs it.
    """
    if tracker is not None and find_spec(tracker) is None:
        raise PlanError(
            f'log = "{tracker}", but the package {tracker} is not installed: '
            f"`pip install '{PROJECT}[{tracker}]'` (from a clone: `pip install -c constraints.txt -e '.[{tracker}]'`)"
        )


def open_run(tracker: Tracker, results: Place) -> Run:
    """The run of a results folder, new or continued; takes seconds, and raises whatever the tracker raises."""
    where = results.absolute() if isinstance(results, Path) else results
    return _STARTERS[tracker](where.name or PROJECT, short_hash(f"run of {where}"))


def send_page(tracker: Tracker, results: Place, folder: Path) -> str:
    """Send a page with its pictures to the run of the results; a line that says so.

    Raises:
        UserError: it could not be sent.
    """
    try:
        run = open_run(tracker, results)
        run.add_page(folder)
        run.close()
    except (Exception, SystemExit) as error:  # trackers raise everything
        raise UserError(f"the page is in {folder}, but was not sent: {failure(tracker, error)}") from error
    return f"sent to {tracker}: {folder}"


def failure(tracker: Tracker, error: BaseException) -> str:
    """What is said of an error of a tracker: its first line, without tokens and passwords."""
    reason = re.sub(r"://[^/@\s]+@", "://", redact(first_line(error, 200)))
    return f"logging to {tracker} failed ({type(error).__name__}: {reason}); results are not affected"


def _wandb(name: str, run_id: str) -> Run:
    import wandb  # here and below, since these packages are optional and take seconds to import

    os.environ.setdefault("WANDB_DIR", str(Path.home() / ".cache" / PROJECT))
    Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
    wandb.setup(wandb.Settings(silent=True))
    mode = os.environ.get("WANDB_MODE", "online")
    # without a key, `init` would ask for one in the terminal, under the progress bar
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise PlanError("no API key: run `wandb login`, set WANDB_API_KEY, or WANDB_MODE=offline")
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        init_timeout=_TIMEOUT_SECONDS,
    )
    resume = "allow" if mode == "online" else None
    run = wandb.init(project=PROJECT, name=name, id=run_id, resume=resume, settings=settings)
    for axis, metrics in (("units_ended", "units/*"), ("training_step", "accuracy/*")):
        run.define_metric(axis)
        run.define_metric(metrics, step_metric=axis)

    def add_page(folder: Path) -> None:
        page = wandb.Artifact(f"page-{run_id}", type="page")
        page.add_dir(str(folder))
        run.log_artifact(page)

    return Run(
        log=lambda axis, value, numbers: run.log({**numbers, axis: value}),
        add_plan=lambda plan, text: run.config.update({f"plan {plan}": text}, allow_val_change=True),
        add_page=add_page,
        close=run.finish,
    )


def _mlflow(name: str, run_id: str) -> Run:
    for variable, value in (("MLFLOW_HTTP_REQUEST_TIMEOUT", _TIMEOUT_SECONDS), ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 2)):
        os.environ.setdefault(variable, str(value))  # its own are minutes, for which the sweep would wait at its end
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports the tables of its database
    from mlflow.entities import Metric, RunStatus
    from mlflow.tracking import MlflowClient

    client, tag = MlflowClient(), "pythia_emergence.results"
    experiment = client.get_experiment_by_name(PROJECT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(PROJECT)
    found = client.search_runs([experiment_id], f"tags.{tag} = '{run_id}'", max_results=1)
    run = found[0] if found else client.create_run(experiment_id, run_name=name, tags={tag: run_id})
    own_id = run.info.run_id
    client.update_run(own_id, status=RunStatus.to_string(RunStatus.RUNNING))

    def log(axis: str, value: int, numbers: Mapping[str, float]) -> None:
        del axis  # a metric of MLflow has one axis, and no name of it
        now = int(time.time() * 1000)
        metrics = [Metric(re.sub(r"[^\w./ -]", "_", key), number, now, value) for key, number in numbers.items()]
        client.log_batch(own_id, metrics=metrics)

    return Run(
        log=log,
        add_plan=lambda plan, text: client.log_text(own_id, text, f"plans/{plan}.toml"),
        add_page=lambda folder: client.log_artifacts(own_id, str(folder), "page"),
        close=lambda: client.set_terminated(own_id),
    )


_STARTERS: Mapping[Tracker, Callable[[str, str], Run]] = {"wandb": _wandb, "mlflow": _mlflow}
