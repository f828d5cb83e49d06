"""Checkpoints: the saved states of a model, in a folder, on the Hub or embedded, and what identifies each."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from dynamics.checkpoint_files import git_id, hash_files, weight_files
from dynamics.controls import RANDOM_INIT, control_name
from dynamics.errors import CheckpointError, PlanError
from dynamics.grids import DEFAULT_PATTERN, FINISHED, StepName, Steps, select_steps, steps_by_name
from dynamics.hub.errata import DUPLICATE
from dynamics.hub.finding import Found, Missing, find_on_hub
from dynamics.hub.listing import SETUP_FILES, HubRevision, hash_setup
from dynamics.reference import suite
from dynamics.reference.manifest import MANIFEST_NAME, Manifest, damaged_steps, read_manifest

_LOCAL_PATTERNS = (DEFAULT_PATTERN, "checkpoint-{step}")


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of one model during pretraining.

    Attributes:
        model: the model's id in every table.
        revision: name of the saved state, such as `step512`.
        step: optimiser steps taken.
        tokens_seen: training tokens up to then; None where the tokens per step are not known.
        commit_sha: the Hub commit (40 hex); for a folder on disk `sha256:` and the hash of its weights; for drawn
            weights `init:` and their hash.
        content_hash: hash of the weight files, or of what decides drawn weights: equal hashes are equal weights.
        setup_hash: hash of config and tokenizer files.
        folder: where its files are; None for one on the Hub until its files were fetched.
        weights: `safetensors`, else `gguf` (folders only), else `bin` where the plan allows pickle.
        remote: its files on the Hub; None for a folder on disk.
        flags: `duplicate` (another step has the same weights), `quarantined` (known or seen to be wrong).
        notes: a line for each thing known to be wrong with it.
        init_seed: of weights that are drawn instead of read (`random_init`); None for a saved state.
    """

    model: str
    revision: str
    step: int
    tokens_seen: int | None
    commit_sha: str
    content_hash: str
    setup_hash: str
    folder: Path | None
    weights: str = "safetensors"
    remote: HubRevision | None = None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    init_seed: int | None = None

    def __str__(self) -> str:
        return f"{self.model} {f'step {self.step}' if self.init_seed is None else self.revision}"


def find_checkpoints(
    model: str,
    steps: Steps | None = None,
    folder: Path | None = None,
    tokens_per_step: int | None = None,
    *,
    pattern: str | None = None,
    allow_pickle: bool = False,
    missing: Missing = "refuse",
    revision: str | None = None,
) -> list[Checkpoint]:
    """The checkpoints of the reference suite, of a folder of checkpoints, or of a repository of the Hub.

    Args:
        model: `reference`; or the name that the folder's model shall have in the tables; or `owner/name` on the Hub.
        steps: a named grid, a range or a list; None or `all` for all there are (of Pythia: all that were published).
        folder: where the checkpoints are, or one model, which is then step `FINISHED`; None for the reference suite
            and the Hub.
        tokens_per_step: training tokens per step; where it is not given, the manifest of `jobs.pretrain`, the suite
            or the revision's name tells.
        pattern: how revisions are named; `step{step}` or `checkpoint-{step}` in folders, `step{step}` on the Hub.
        allow_pickle: use `.bin` weights where there is no safetensors.
        missing: whether steps that are not there are refused or left out.
        revision: the one branch or tag to take from the Hub, of a model whose steps are not published.

    Raises:
        CheckpointError: there are no checkpoints, a step cannot be used, or the Hub cannot be asked.
        PlanError: a grid or a pattern that is none, or a step is missing.
    """
    on_hub = folder is None and "/" in model
    if revision is not None and not on_hub:
        raise PlanError(f"model {model!r}: revision = {revision!r} is for models of the Hub; take it out")
    if on_hub:
        found = find_on_hub(
            model,
            steps or "all",
            pattern=pattern or DEFAULT_PATTERN,
            allow_pickle=allow_pickle,
            missing=missing,
            revision=revision,
        )
        return [_remote(each, tokens_per_step) for each in found]
    root = folder
    if root is None:
        if model != suite.MODEL_ID:
            raise CheckpointError(
                f"model {model!r} has no folder in the plan; only {suite.MODEL_ID!r} is embedded, and a model of the "
                'Hub is owner/name. Add folder = "/path/to/checkpoints" beside its id'
            )
        root = suite.checkpoints_dir()
    if (root / "config.json").is_file() or list(root.glob("*.gguf")):  # one model, not a folder of its steps
        there, root = {FINISHED: StepName(FINISHED, root.resolve().name, None)}, root.resolve().parent
    else:
        there = _steps_in(model, root, pattern)
    wanted = sorted(there) if steps in (None, "all") else select_steps(steps, model, there, strict=missing == "refuse")
    per_step = tokens_per_step or _tokens_per_step(root)
    _check_against_manifest(root, wanted)
    _check_one_tokenizer(model, [root / there[step].name / "tokenizer.json" for step in wanted])
    return _flag_duplicates([_local(model, there[step], root, per_step, allow_pickle) for step in wanted])


def random_init(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """The control of a checkpoint's model: its config and tokenizer, no weights, step 0.

    `content_hash` is of all that decides the weights: config and tokenizer files (of GGUF the file itself), the seed,
    and the versions of torch and transformers, which draw them.
    """
    config = checkpoint.content_hash if checkpoint.weights == "gguf" else checkpoint.setup_hash
    decides = repr((config, seed, version("torch"), version("transformers")))
    content = hashlib.sha256(decides.encode()).hexdigest()
    remote = checkpoint.remote
    return replace(
        checkpoint,
        revision=control_name(RANDOM_INIT, seed),
        step=0,
        tokens_seen=0,
        commit_sha=f"init:{content}",
        content_hash=content,
        remote=None if remote is None else replace(remote, weights=()),
        flags=(),
        notes=(),
        init_seed=seed,
    )


def _steps_in(model: str, root: Path, pattern: str | None) -> dict[int, StepName]:
    """Step -> name of the folder, for every checkpoint in a folder."""
    if not root.is_dir():
        raise CheckpointError(f"{root} is not a folder; give one that holds step<n> or checkpoint-<n> folders")
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    for known in _LOCAL_PATTERNS if pattern is None else (pattern,):
        if found := steps_by_name(model, names, known):
            return found
    raise CheckpointError(f"{root} holds no {pattern or 'step<n> or checkpoint-<n>'} folder")


def _check_one_tokenizer(model: str, files: Sequence[Path]) -> None:
    """One model has one tokenizer: with another, the same prompt would be other tokens from one step to the next."""
    of_hash: dict[str, Path] = {}
    for path in files:
        if path.is_file():
            of_hash.setdefault(git_id(path), path)
    if len(of_hash) > 1:
        first, second, *_ = of_hash.values()
        raise CheckpointError(
            f"model {model} has two tokenizers: {first} and {second} differ; put the right one in both"
        )


def _tokens_per_step(root: Path) -> int | None:
    """Tokens per step as the manifest of `jobs.pretrain` tells; None for any other folder."""
    manifest = _manifest(root)
    return None if manifest is None else manifest.tokens_per_step


def _manifest(root: Path) -> Manifest | None:
    """The manifest of `jobs.pretrain`; None where there is none, or a file of that name that is something else's."""
    try:
        return read_manifest(root)
    except ValueError:
        return None


def _check_against_manifest(root: Path, steps: Sequence[int]) -> None:
    """Refuse weights that are not those a manifest beside them names.

    Raises:
        CheckpointError: with the steps.
    """
    manifest = _manifest(root)
    damaged = [] if manifest is None else [step for step in damaged_steps(root, manifest) if step in steps]
    if damaged:
        raise CheckpointError(
            f"{root}: the weights of step {', '.join(map(str, damaged))} are not those of {MANIFEST_NAME}; restore "
            "them, or take the manifest away if the change is meant"
        )


def _remote(found: Found, tokens_per_step: int | None) -> Checkpoint:
    name, revision = found.name, found.revision
    return Checkpoint(
        model=revision.repo,
        revision=revision.revision,
        step=name.step,
        tokens_seen=name.tokens_seen if tokens_per_step is None else name.step * tokens_per_step,
        commit_sha=revision.commit_sha,
        content_hash=revision.content_hash,
        setup_hash=revision.setup_hash,
        folder=None,
        weights=revision.format,
        remote=revision,
        flags=found.findings.flags,
        notes=found.findings.notes,
    )


def _local(model: str, name: StepName, root: Path, tokens_per_step: int | None, allow_pickle: bool) -> Checkpoint:
    folder = root / name.name
    kinds = ("safetensors", "gguf", *(("bin",) if allow_pickle else ()))
    weights = next((kind for kind in kinds if weight_files(folder, kind)), "safetensors")
    content = hash_files(weight_files(folder, weights))
    present = [path for file in SETUP_FILES if (path := folder / file).is_file()]
    return Checkpoint(
        model=model,
        revision=name.name,
        step=name.step,
        tokens_seen=name.tokens_seen if tokens_per_step is None else name.step * tokens_per_step,
        commit_sha=f"sha256:{content}",
        content_hash=content,
        setup_hash=hash_setup({path.name: git_id(path) for path in present}),
        folder=folder,
        weights=weights,
    )


def _flag_duplicates(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Flag the steps whose weights another step of the list has too."""
    n_of = Counter(checkpoint.content_hash for checkpoint in checkpoints)
    return [replace(c, flags=(DUPLICATE,)) if n_of[c.content_hash] > 1 else c for c in checkpoints]
