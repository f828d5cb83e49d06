"""Where the checkpoints of a run are on the Hub: in revisions, in folders of one revision, or in repositories."""

from collections.abc import Mapping
from dataclasses import dataclass

from dynamics.errors import CheckpointError, NoRepository, PlanError, unknown
from dynamics.grids import FINISHED, AtTokens, StepName, Steps, in_run, name_pattern, steps_by_name, tokens_at
from dynamics.hub.listing import Commit, list_files, list_refs
from dynamics.hub.names import checked_sha
from dynamics.suites import Stage, suite_of

MAIN = "main"


@dataclass(frozen=True)
class HubRun:
    """The checkpoints of a run, before their files are listed.

    Attributes:
        id: its id in plans.
        names: step -> its name and training tokens.
        commits: step -> its commit, and the folder in it.
        main: the commit of `main` beside revisions of steps, which need not be that of any step; None where there is
            none.
        published: step -> the step in its revision's name, for what is known of published steps.
        grids_begin: the step from which named grids count: 0, or that of a later stage's first checkpoint.
    """

    id: str
    names: Mapping[int, StepName]
    commits: Mapping[int, Commit]
    main: Commit | None
    published: Mapping[int, int]
    grids_begin: int = 0


def find_run(repo: str, stage: Stage, steps: Steps, revision: str | None = None) -> HubRun:
    """The checkpoints of a stage of a run; one request for the refs of each repository, one to list folders.

    Args:
        repo: `owner/name`; of repositories by step, the run's name.
        stage: how its checkpoints are named.
        steps: those requested; repositories are looked up by them.
        revision: with folders, the revision that has them; with revisions, the single one to use, for a model without
            published steps, which becomes step `FINISHED`.

    Raises:
        CheckpointError: no such repository or revision, or nothing in it that fits; the Hub cannot be reached.
        PlanError: a malformed pattern, or repositories of steps that are not listed.
    """
    if stage.layout == "repositories":
        return _repositories(repo, stage, steps)
    refs = list_refs(repo)
    if stage.layout == "folders":
        return _folders(repo, stage, refs, revision or MAIN)
    if revision is not None:
        names = {FINISHED: StepName(FINISHED, _known(repo, refs, revision), None)}
        published = dict(zip([FINISHED], steps_by_name(repo, [revision], stage), strict=False))
    else:
        names = steps_by_name(repo, refs, stage) | _named(stage)
        published = {step: step for step in names}
    if not names:
        raise CheckpointError(
            f"{repo} has no branch that fits the pattern {' or '.join(map(repr, stage.patterns))}; it has "
            f"{', '.join(sorted(refs)[:5])} and others. Change `pattern`, or name the branch of a model without steps, "
            'as revision = "main"'
        )
    commits = {step: _commit(repo, refs, name.name) for step, name in names.items()}
    return HubRun(repo, names, commits, _commit(repo, refs, MAIN) if MAIN in refs else None, published)


def _named(stage: Stage) -> dict[int, StepName]:
    """The checkpoints of a stage that no pattern names."""
    named = (in_run(stage, step, name, tokens_at(stage, step)) for step, name in stage.revisions.items())
    return {name.step: name for name in named}


def _commit(repo: str, refs: Mapping[str, str], name: str) -> Commit:
    """The commit of a branch or tag, or the one whose id it is."""
    return Commit(repo, name, refs[name] if name in refs else checked_sha(name, f"revision {name!r} of {repo}"))


def _known(repo: str, refs: Mapping[str, str], revision: str) -> str:
    if revision not in refs:
        raise CheckpointError(unknown(f"revision of {repo}", revision, sorted(refs)))
    return revision


def _folders(repo: str, stage: Stage, refs: Mapping[str, str], revision: str) -> HubRun:
    """The folders of a revision whose paths fit."""
    commit = _commit(repo, refs, _known(repo, refs, revision))
    folders = sorted({file.path.rpartition("/")[0] for file in list_files(repo, commit.sha)} - {""})
    names = steps_by_name(repo, folders, stage)
    if not names:
        raise CheckpointError(
            f"{commit} has no folder that fits the pattern {' or '.join(map(repr, stage.patterns))}; it has "
            f"{', '.join(folders[:5]) or 'none'}. Change `pattern`"
        )
    commits = {step: Commit(repo, revision, commit.sha, subfolder=name.name) for step, name in names.items()}
    return HubRun(repo, names, commits, None, {step: step for step in names})


def _repositories(run: str, stage: Stage, steps: Steps) -> HubRun:
    """The repositories of the requested steps that there are; the Hub does not list them."""
    if not name_pattern(stage.patterns[0], of_paths=True).fullmatch(stage.patterns[0].replace("{step}", "0")):
        raise PlanError(f"{run}: pattern {stage.patterns[0]!r} of repositories may hold {{step}} only")
    suite = suite_of(run)
    published = None if suite is None else suite.published_steps(run)
    if published is None and isinstance(steps, str | AtTokens):
        raise PlanError(f"{run}: its repositories cannot be listed, so give `steps` as a list or a range")
    wanted = published if published is not None or isinstance(steps, str | AtTokens) else sorted(set(steps))
    by_name: dict[str, Commit] = {}
    for repo in (stage.patterns[0].format(step=step) for step in wanted or ()):
        try:
            refs = list_refs(repo)
        except NoRepository:
            continue
        by_name[repo] = _commit(repo, refs, _known(repo, refs, MAIN))
    names = steps_by_name(run, by_name, stage)
    if not names:
        raise CheckpointError(
            f"{run}: the Hub has no repository {stage.patterns[0]!r} of these steps; change `pattern`"
        )
    return HubRun(run, names, {step: by_name[name.name] for step, name in names.items()}, None, {s: s for s in names})
