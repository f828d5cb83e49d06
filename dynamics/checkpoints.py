"""Checkpoints: the saved states of a model, on disk, on the Hub or embedded, and the hashes that identify each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dynamics.checkpoint_files import file_hashes, git_id, weight_files
from dynamics.controls import RANDOM_INIT, control_name
from dynamics.errors import CheckpointError, PlanError
from dynamics.folder_checks import check_weight_files, own_unembedding
from dynamics.grids import (
    DEFAULT_PATTERN,
    FINISHED,
    StepName,
    Steps,
    as_stage,
    far_tokens,
    missing_steps,
    select_steps,
    steps_by_name,
    with_tokens,
)
from dynamics.hub.errata import NO_STEP, Findings, audit
from dynamics.hub.fetch import fetch_setup
from dynamics.hub.finding import HubStep, Missing, find_on_hub, say_far, say_left_out
from dynamics.hub.layouts import find_run
from dynamics.hub.listing import CONFIG, SETUP_FILES, TOKENIZER, HubFile, HubRevision, hash_setup
from dynamics.reference import suite
from dynamics.reference.manifest import MANIFEST_NAME, Manifest, damaged_steps, read_manifest
from dynamics.step_consistency import compare_steps
from dynamics.step_folders import ITSELF, steps_in
from dynamics.suites import Layout
from dynamics.suites.stages import check_can_run, name_in_tables, requested_stage
from dynamics.tokenizer_sources import NamedTokenizer, find_tokenizer

UNTIED = "untied"


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of one model during pretraining.

    Attributes:
        model: the model's id in every table.
        revision: name of the saved state, such as `step512`.
        step: optimiser steps taken.
        tokens_seen: training tokens up to this step; None where the tokens per step are not known.
        commit_sha: the Hub commit (40 hex); for a folder on disk `sha256:` and the hash of its weights; for random
            weights `init:` and the hash of what determines them.
        content_hash: hash of the weight files, or of what determines random weights; equal hashes are equal weights.
        setup_hash: hash of config and tokenizer files; of the config alone where the plan names a tokenizer.
        folder: folder of its files; None for a checkpoint on the Hub until its files are fetched.
        weights: format of the weights: `safetensors`, else `gguf` (folders only), else `bin` where the plan allows
            pickle.
        remote: its files on the Hub; None for a folder on disk.
        flags: `duplicate` (another step has the same weights), `quarantined` (known or found to be wrong),
            `other_format` (not the preferred one, whose files are doubtful), `untied` (an unembedding of its own,
            though its config ties it to the embedding), `config_changed` and `special_tokens_changed` (not as at the
            last step: `dynamics.step_consistency`).
        notes: one line for each known fault or change, and for a step that is not its name's.
        init_seed: seed of randomly initialised weights (`random_init`); None for a saved state.
        tokenizer: the tokenizer that the plan names; None for the checkpoint's own.
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
    tokenizer: NamedTokenizer | None = None

    @property
    def named_tokenizer(self) -> dict[str, str]:
        """What the tokenizer that a plan names adds to the identity of units: nothing where it names none."""
        return {} if self.tokenizer is None else {"tokenizer": self.tokenizer.files_hash}

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
    tokenizer: str | Path | None = None,
    layout: Layout = "revisions",
    stage: str | None = None,
    unverified: bool = False,
) -> list[Checkpoint]:
    """The checkpoints of the reference suite, of a folder of checkpoints, or of a repository of the Hub.

    Args:
        model: `reference`; or the id that the folder's model gets in the tables; or `owner/name` on the Hub.
        steps: a named grid, a range, a list, or numbers of tokens; None or `all` for every step (of Pythia: all
            published ones); `finished` for a folder's own model beside its step folders.
        folder: folder of the checkpoints, or of a single model, which is then step 1 (`dynamics.step_folders`); None
            for the reference suite and the Hub.
        tokens_per_step: training tokens per step; by default taken from the manifest of `jobs.pretrain`, the suite or
            the revision's name.
        pattern: how revisions are named; `step{step}` or `checkpoint-{step}` in folders, `step{step}` on the Hub.
        allow_pickle: use `.bin` weights where there is no safetensors.
        missing: whether a step is an error (`refuse`) or left out (`skip`), which is said with the reason, where it is
            missing, or lacks usable weights, its config or its tokenizer.
        revision: the single branch or tag to use on the Hub, for a model without published steps.
        tokenizer: of all steps, in place of their own: `owner/name@revision` on the Hub, or a folder.
        layout: what `pattern` names on the Hub: revisions, folders of one revision, or repositories.
        stage: of a run of a suite, by its name; None for the first.
        unverified: whether what is only recalled of a suite may be used.

    Raises:
        CheckpointError: there are no checkpoints, a step cannot be used, or the Hub cannot be reached.
        PlanError: an unknown grid, a malformed pattern, or a missing step.
    """
    on_hub = folder is None and "/" in model
    for key, value, default in (("revision", revision, None), ("layout", layout, "revisions"), ("stage", stage, None)):
        if value != default and not on_hub:
            raise PlanError(f"model {model!r}: {key} = {value!r} applies to models on the Hub only; remove it")
    named = None if tokenizer is None else find_tokenizer(tokenizer)
    if on_hub:
        check_can_run(model)
        by_name = revision is not None and layout == "revisions" and stage is None  # what a suite says is not used
        meant = None if by_name else requested_stage(model, stage, pattern, layout, unverified=unverified)
        naming = meant or as_stage(model, pattern or DEFAULT_PATTERN, layout)
        run = find_run(model, naming, steps or "all", revision)
        name = name_in_tables(model, stage)
        first = 0 if name == model else min(run.names)
        run = replace(run, names=with_tokens(run.names, tokens_per_step, meant), grids_begin=first)
        hub_steps = find_on_hub(
            run, steps or "all", allow_pickle=allow_pickle, missing=missing, own_tokenizer=named is None
        )
        return _flag_changes(name, [_remote(name, hub_step, named) for hub_step in hub_steps])
    root = suite.checkpoints_dir() if folder is None else folder
    if folder is None:
        suite.check_embedded(model)
    root, available = steps_in(model, root, steps, pattern)
    available = with_tokens(available, tokens_per_step or _tokens_per_step(root))
    if missing == "skip":
        requested = _without_unusable(model, steps, root, available, allow_pickle=allow_pickle, own=named is None)
    else:
        requested = _requested(model, steps, available)
    _check_against_manifest(root, requested)
    found = {step: _local(model, available[step], root, allow_pickle, named) for step in requested}
    return _flag_changes(model, _with_faults(found))


def _requested(model: str, steps: Steps | None, available: Mapping[int, StepName], *, strict: bool = True) -> list[int]:
    """The steps of a folder that are meant, ascending; `strict` as in `select_steps`."""
    if steps in (None, "all", ITSELF):
        return sorted(available)
    return select_steps(steps, model, available, strict=strict)


def _without_unusable(
    model: str, steps: Steps | None, root: Path, available: Mapping[int, StepName], *, allow_pickle: bool, own: bool
) -> list[int]:
    """The steps that are meant, there and usable; says which are not. `own`: each step's own tokenizer is used."""
    requested = _requested(model, steps, available, strict=False)
    lacking = {step: _what_it_lacks(root / available[step].name, allow_pickle, own) for step in requested}
    unusable = {step: fault for step, fault in lacking.items() if fault}
    whole = steps in (None, "all", ITSELF)
    absent = {} if whole else dict.fromkeys(missing_steps(steps, model, available), "there is no folder of it")
    usable = [step for step in requested if step not in unusable]
    say_left_out(model, {**absent, **unusable}, len(usable))
    say_far(model, far_tokens(steps, available) if steps is not None else [])
    return usable


def random_init(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """The random-initialisation control of a model: its config and tokenizer, random weights, step 0.

    `content_hash` covers everything that determines the weights: config and tokenizer files (for GGUF the file
    itself), the seed, and the versions of torch and transformers, which initialise them.

    Raises:
        CheckpointError: torch or transformers is not installed here, so its version is not known.
    """
    config = checkpoint.content_hash if checkpoint.weights == "gguf" else checkpoint.setup_hash
    determinants = repr((config, seed, _version("torch"), _version("transformers")))
    content = hashlib.sha256(determinants.encode()).hexdigest()
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


def check_init(checkpoint: Checkpoint) -> None:
    """Check that random weights made by this process are those of the checkpoint's hash, which a sweep computed.

    Raises:
        CheckpointError: this process has other versions of torch or transformers than the sweep.
    """
    seed, is_gguf = checkpoint.init_seed, checkpoint.weights == "gguf"  # its config's hash is that of its weights
    if seed is None or is_gguf or random_init(checkpoint, seed).content_hash == checkpoint.content_hash:
        return
    raise CheckpointError(
        f"{checkpoint}: this worker has torch {_version('torch')} and transformers {_version('transformers')}, and the "
        "sweep other ones, which draw other random weights; install the same versions on all nodes"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise CheckpointError(
            f"random weights depend on the version of {package}, which is not installed here; install it, or take "
            "random_init out of the plan's controls"
        ) from error


def _flag_changes(model: str, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Flag the steps whose config or special tokens differ from the last step's; one of each setup is compared.

    Raises:
        CheckpointError: two steps have different tokenizers.
    """
    by_setup = {checkpoint.setup_hash: checkpoint for checkpoint in checkpoints}
    if len(by_setup) < 2:
        return list(checkpoints)
    in_order = sorted(by_setup.values(), key=lambda checkpoint: checkpoint.step)
    own_tokenizers = all(checkpoint.tokenizer is None for checkpoint in checkpoints)
    findings = compare_steps(model, {str(c): _setup_folder(c) for c in in_order}, own_tokenizers=own_tokenizers)
    by_hash = {c.setup_hash: findings[str(c)] for c in in_order}
    return [_with(c, by_hash[c.setup_hash]) for c in checkpoints]


def _setup_folder(checkpoint: Checkpoint) -> Path:
    """A folder with the checkpoint's config and tokenizer; small files, fetched where they are on the Hub."""
    if checkpoint.remote is not None:
        return fetch_setup(checkpoint.remote)
    assert checkpoint.folder is not None
    return checkpoint.folder


def _tokens_per_step(root: Path) -> int | None:
    """Tokens per step according to the manifest of `jobs.pretrain`; None for any other folder."""
    manifest = _manifest(root)
    return None if manifest is None else manifest.tokens_per_step


def _manifest(root: Path) -> Manifest | None:
    """The manifest of `jobs.pretrain`; None where there is none, or a file of that name with other content."""
    try:
        return read_manifest(root)
    except ValueError:
        return None


def _check_against_manifest(root: Path, steps: Sequence[int]) -> None:
    """Check the weights against the manifest in the same folder, where there is one.

    Raises:
        CheckpointError: weights differ from the manifest; names their steps.
    """
    manifest = _manifest(root)
    damaged = [] if manifest is None else [step for step in damaged_steps(root, manifest) if step in steps]
    if damaged:
        raise CheckpointError(
            f"{root}: the weights of step {', '.join(map(str, damaged))} are not those of {MANIFEST_NAME}; restore "
            "them, or delete the manifest if the change is intended"
        )


def _remote(model: str, hub_step: HubStep, tokenizer: NamedTokenizer | None) -> Checkpoint:
    """The checkpoint of a step on the Hub, not fetched yet."""
    name, revision = hub_step.name, hub_step.revision
    return Checkpoint(
        model=model,
        revision=name.name,
        step=name.step,
        tokens_seen=name.tokens_seen,
        commit_sha=revision.commit_sha,
        content_hash=revision.content_hash,
        setup_hash=revision.setup_hash,
        folder=None,
        weights=revision.format,
        remote=revision,
        flags=hub_step.findings.flags,
        notes=hub_step.findings.notes,
        tokenizer=tokenizer,
    )


def _what_it_lacks(folder: Path, allow_pickle: bool, own_tokenizer: bool) -> str | None:
    """What a folder lacks of a checkpoint, in words: weights, config, or its own tokenizer if that is used.

    Files that are there and damaged are errors, whatever a plan says.
    """
    weights = _format(folder, allow_pickle)
    if weights == "gguf":
        return None
    required = (CONFIG, TOKENIZER) if own_tokenizer else (CONFIG,)
    if lacking := [name for name in required if not (folder / name).exists()]:
        return f"{folder} has no {' and no '.join(lacking)}"
    try:
        check_weight_files(folder, weights)
    except CheckpointError as error:
        return str(error)
    return None


def _format(folder: Path, allow_pickle: bool) -> str:
    """The format of the weights in a folder that is used."""
    formats = ("safetensors", "gguf", *(("bin",) if allow_pickle else ()))
    return next((kind for kind in formats if weight_files(folder, kind)), "safetensors")


def _local(
    model: str,
    name: StepName,
    root: Path,
    allow_pickle: bool,
    tokenizer: NamedTokenizer | None,
) -> tuple[Checkpoint, HubRevision]:
    """The checkpoint of a step in a folder, and its weights as the Hub would list them."""
    folder = root / name.name
    weights = _format(folder, allow_pickle)
    files = weight_files(folder, weights)
    hashes = file_hashes(files)
    listed = tuple(HubFile(path.name, path.stat().st_size, "", hashes[path.name]) for path in files)
    revision = HubRevision(model, name.name, "", weights, listed, ())
    content = revision.content_hash
    names = SETUP_FILES if tokenizer is None else (CONFIG,)
    present = [path for file in names if (path := folder / file).is_file()]
    checkpoint = Checkpoint(
        model=model,
        revision=name.name,
        step=name.step,
        tokens_seen=name.tokens_seen,
        commit_sha=f"sha256:{content}",
        content_hash=content,
        setup_hash=hash_setup({path.name: git_id(path) for path in present}),
        folder=folder,
        weights=weights,
        notes=() if name.note is None else (name.note,),
        tokenizer=tokenizer,
    )
    return noted(checkpoint), revision


def noted(checkpoint: Checkpoint, seen: str | None = None) -> Checkpoint:
    """The checkpoint, with flag `untied` and a note where its files hold an unembedding that its config does not.

    `seen` is the note of the opened model (`dynamics.loading.unembedding_note`), for formats that say nothing before.
    """
    note = None if checkpoint.folder is None else own_unembedding(checkpoint.folder, checkpoint.weights) or seen
    if note is None or checkpoint.init_seed is not None or UNTIED in checkpoint.flags:
        return checkpoint
    return replace(checkpoint, flags=(*checkpoint.flags, UNTIED), notes=(*checkpoint.notes, note))


def _with_faults(found: Mapping[int, tuple[Checkpoint, HubRevision]]) -> list[Checkpoint]:
    """Checkpoints of folders with the faults that their files show, as copies of published ones have them too.

    A step without weights shares none. Reports about a step concern a folder of the step's name only, not a single
    model, whose step is not known.
    """
    single = list(found) == [FINISHED]
    with_weights = {step: revision for step, (_, revision) in found.items() if revision.weights}
    steps_of = {
        step: next(iter(steps_by_name("", [revision.revision])), NO_STEP) if single else step
        for step, revision in with_weights.items()
    }
    findings = audit({steps_of[step]: (revision,) for step, revision in with_weights.items()})
    return [
        _with(found[step][0], findings[steps_of[step]][0]) if step in steps_of else found[step][0] for step in found
    ]


def _with(checkpoint: Checkpoint, findings: Findings) -> Checkpoint:
    flags, notes = (*checkpoint.flags, *findings.flags), (*checkpoint.notes, *findings.notes)
    return replace(checkpoint, flags=flags, notes=notes)
