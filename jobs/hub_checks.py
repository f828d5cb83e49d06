"""Checks of what a sweep relies on at the Hub: listings, redirects, hashes, names of labels, the tokenizer."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from transformers import PreTrainedTokenizerBase

from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, PlanError, UserError
from dynamics.hub.datasets import SplitOnHub, fetch_dataset_split
from dynamics.hub.fetch import fetch_setup
from dynamics.hub.listing import Commit
from dynamics.hub.retries import with_retries
from dynamics.hub.settings import settings
from dynamics.loading import load_tokenizer
from dynamics.prompt_encoder import label_words, prompt_encoder
from dynamics.tasks import Row, Task
from dynamics.tasks.files import read_tables
from dynamics.tasks.rows import table_rows
from dynamics.tasks.sources import SourceRows
from jobs.fetching import check_setup
from jobs.resolving import find_all
from jobs.sweep_plan import SweepPlan


@dataclass(frozen=True)
class Check:
    """What was tried, whether it went well, and what came out or the remedy."""

    what: str
    ok: bool
    outcome: str

    def line(self) -> str:
        """The check as one line of text."""
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.what}: {self.outcome}"


def examined(plan: SweepPlan) -> Iterator[Check]:
    """All checks of a plan, each as soon as it is made.

    Raises:
        PlanError: the plan names an unknown task or grid.
    """
    hub = settings()
    where = f"{hub.endpoint}, cache {hub.cache}, {'with' if hub.token else 'without'} a token"
    remedy = f"{where}; HF_HUB_OFFLINE is set, so nothing new is fetched: unset it"
    yield Check("the Hub", not hub.offline, remedy if hub.offline else where)
    rows: dict[str, Sequence[Row]] = {}
    for name, task in plan.task_by_name.items():
        if plan.data_folder is None and isinstance(task.load, SourceRows):
            yield from _dataset(name, task, task.load, rows)
    yield from _checkpoint(plan, rows)


def _dataset(name: str, task: Task, reader: SourceRows, rows: dict[str, Sequence[Row]]) -> Iterator[Check]:
    """Checks of the file that a task's test rows come from; its rows are put into `rows`."""
    source = reader.source
    what = f"dataset {source.repo} ({name})"
    if source.obtain:
        yield Check(what, False, f"it is not on the Hub: {source.how_to_get()}, and give DATA as `data` in the plan")
        return
    file = source.files[source.test]
    try:
        split = fetch_dataset_split(source.repo, source.test, file.path, source.revision, file.n_rows)
        yield Check(what, True, _found(split, file.path))
        yield _redirect(what, Commit(source.repo, split.revision, split.commit_sha, "dataset"), split.names[0])
        table, _ = read_tables(split.paths)
        rows[name] = table_rows(table, source.columns, prefix=name, where=f"{source.repo} {split.names[0]}")
    except UserError as error:
        yield Check(what, False, str(error))
        return
    expected = file.n_rows in (None, table.height)
    published = f"{table.height} rows" + ("" if expected else f", {file.n_rows} were published; pin its commit")
    yield Check(f"{what} rows", expected, published)
    yield _label_names(what, task, reader, split)


def _found(split: SplitOnHub, hint: str) -> str:
    elsewhere = "" if split.names == (hint,) else f", found by name instead of {hint}"
    others = f"; not {', '.join(split.others)}, of another format" if split.others else ""
    return f"{', '.join(split.names)} at {split.revision} ({split.commit_sha[:12]}), hash as listed{elsewhere}{others}"


def _label_names(what: str, task: Task, reader: SourceRows, split: SplitOnHub) -> Check:
    """The names that a Parquet file gives its labels, beside the label words that the task takes for them."""
    what, columns = f"{what} labels", reader.source.columns
    names = _names_in(split.paths[0], columns.label)
    words = label_words(task, 0)
    if names is None:
        return Check(what, True, f"{columns.labels} stand for {words}; the file does not name them, so read a few rows")
    pairs = [
        (names[value], word)
        for value, word in zip(columns.labels, words, strict=False)
        if isinstance(value, int) and value in range(len(names))
    ]
    pairs_text = ", ".join(f"{name} is {word!r}" for name, word in pairs)
    lower = [word.lower() for word in words]
    swapped = [name for name, word in pairs if name.lower() in lower and name.lower() != word.lower()]
    if swapped or len(names) != len(columns.labels):
        return Check(
            what, False, f"{pairs_text}; the file has {', '.join(names)}: another order or number; pin its commit"
        )
    return Check(what, True, pairs_text)


def _names_in(path: Path, column: str) -> list[str] | None:
    """Names of a column's classes as `datasets` stores them in a Parquet file; None where there are none."""
    if path.suffix != ".parquet":
        return None
    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _redirect(what: str, commit: Commit, path: str) -> Check:
    """Where the Hub sends the client for a file's content."""
    hub = settings()
    if hub.offline:
        return Check(f"{what} redirect", True, "not tried, HF_HUB_OFFLINE is set")
    url = hf_hub_url(commit.repo, path, repo_type=commit.kind, revision=commit.sha, endpoint=hub.endpoint)
    offer = with_retries(lambda: get_hf_file_metadata(url, token=hub.token or False, endpoint=hub.endpoint), what)
    host = urlsplit(offer.location).netloc or urlsplit(hub.endpoint).netloc
    xet = ", in the Xet store too" if offer.xet_file_data else ""
    return Check(f"{what} redirect", True, f"content comes from {host}{xet}")


def _checkpoint(plan: SweepPlan, rows: dict[str, Sequence[Row]]) -> Iterator[Check]:
    """Checks of the smallest checkpoint of the plan that is on the Hub, and of its tokenizer with every task."""
    try:
        remote = [checkpoint for checkpoint in find_all(plan) if checkpoint.remote and checkpoint.init_seed is None]
    except CheckpointError as error:
        yield Check("checkpoints", False, str(error))
        return
    if not remote:
        yield Check("checkpoints", True, "the plan has none on the Hub")
        return
    checkpoint = min(remote, key=_n_bytes)
    files, what = checkpoint.remote, f"{checkpoint.model}@{checkpoint.revision}"
    assert files is not None
    try:
        folder = fetch_setup(files)
        yield Check(what, True, f"{', '.join(file.path for file in files.setup)}, hashes as listed")
        check_setup(checkpoint, folder)
        yield _redirect(what, files.commit, files.weights[0].path)
        tokenizer = load_tokenizer(replace(checkpoint, folder=folder))
        yield Check(f"{what} tokenizer", True, f"{len(tokenizer)} tokens, {type(tokenizer).__name__}")
    except (UserError, ValueError) as error:
        yield Check(what, False, str(error))
        return
    for name, task in plan.task_by_name.items():
        if sample := rows.get(name):
            yield _tried(f"{what} with {name}", lambda task=task, row=sample[0]: _prompts(task, row, tokenizer))


def _n_bytes(checkpoint: Checkpoint) -> int:
    return checkpoint.remote.n_bytes if checkpoint.remote else 0


def _prompts(task: Task, row: Row, tokenizer: PreTrainedTokenizerBase) -> str:
    """How many templates give a prompt whose label words are single tokens.

    Raises:
        PromptError: one does not.
    """
    for template in task.templates:
        prompt_encoder(task, template, tokenizer, 0, (), row).token_ids((), [row])
    return f"label words of {len(task.templates)} templates are single tokens"


def _tried(what: str, call: Callable[[], str]) -> Check:
    """The check that a call is, which may refuse."""
    try:
        return Check(what, True, call())
    except UserError as error:
        if isinstance(error, PlanError):
            raise
        return Check(what, False, str(error))
