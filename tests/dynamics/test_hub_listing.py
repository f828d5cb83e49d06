"""What is known of a repository before anything is downloaded: names, commits, formats, hashes, faults."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import get_session

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub import api, finding
from dynamics.hub.errata import Findings, audit, errata
from dynamics.hub.finding import HubStep
from dynamics.hub.layouts import find_run
from dynamics.hub.listing import HubFile, HubRevision, list_files, list_refs
from dynamics.hub.names import checked_repo, checked_revision, redact
from dynamics.suites import Stage
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault

REPO = "EleutherAI/pythia-14m"


def find_on_hub(repo: str, steps: list[int], **options: Any) -> list[HubStep]:
    """Steps in branches named step<n>."""
    return finding.find_on_hub(find_run(repo, Stage(), steps), steps, **options)


@pytest.mark.parametrize(
    "name", ["../../x", "a/../b", "/etc", "a", "a/b/c", "a/b--c", "a/.b", "a/b\n", "a/b%2e", "..//x", ""]
)
def test_names_that_are_no_repository(name: str) -> None:
    with pytest.raises(CheckpointError, match="not a repository"):
        checked_repo(name)


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "a..b", "-x", "a b", "a\0", ""])
def test_names_that_are_no_revision(name: str) -> None:
    with pytest.raises(CheckpointError, match="not a branch name"):
        checked_revision(name)


def test_tokens_are_redacted() -> None:
    assert redact("Bearer hf_abcDEF123 and hf_x") == "Bearer hf_*** and hf_x"


def test_one_request_for_the_refs_and_one_per_commit_ever(hub: FakeHub) -> None:
    for step in range(3):
        hub.add(REPO, f"step{step}", models.single(step))
    find_on_hub(REPO, [0, 1])
    find_on_hub(REPO, [0, 1])
    assert hub.requests == {"GET refs": 2, "GET tree": 3}  # the last step is compared too


def test_a_listing_in_pages_is_complete(hub: FakeHub) -> None:
    sha = hub.add(REPO, "step0", models.sharded(0))
    hub.page_size = 2
    assert [file.path for file in list_files(REPO, sha)] == sorted(models.sharded(0))
    assert hub.requests["GET tree"] == 3


def test_a_page_elsewhere_is_not_followed(hub: FakeHub) -> None:
    """The token would go there."""
    sha = hub.add(REPO, "step0", models.sharded(0))
    hub.page_size, hub.next_host = 2, "http://127.0.0.2:1"
    with pytest.raises(CheckpointError, match="another host"):
        list_files(REPO, sha)


@pytest.mark.parametrize(
    ("layout", "kind", "weights"),
    [
        (models.single(1), "safetensors", ["model.safetensors"]),
        (models.sharded(1), "safetensors", ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
        (models.both(1), "safetensors", ["model.safetensors"]),
        (models.sharded(1) | models.single(1), "safetensors", ["model.safetensors"]),
        (models.pickled(1), "bin", ["pytorch_model.bin"]),
        (models.pickled(1, 2), "bin", ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]),
    ],
    ids=["single", "sharded", "both", "whole and shards", "bin", "sharded bin"],
)
def test_one_format_is_chosen(hub: FakeHub, layout: models.Files, kind: str, weights: list[str]) -> None:
    hub.add(REPO, "step0", layout | {"README.md": b"x", "../../evil.safetensors": b"x"})
    (found,) = find_on_hub(REPO, [0], allow_pickle=True)
    revision = found.revision
    assert (revision.format, [file.path for file in revision.weights]) == (kind, weights)
    assert {file.path for file in revision.files} <= set(layout)


def without(files: models.Files, *names: str) -> models.Files:
    """The files but for some."""
    return {name: content for name, content in files.items() if name not in names}


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (models.pickled(1), "allow_pickle = true"),
        (models.setup_files(), "no weights"),
        (without(models.single(1), "tokenizer.json"), "no tokenizer.json"),
        (without(models.single(1), "config.json", "tokenizer.json"), "no config.json and no tokenizer.json"),
        (without(models.sharded(1), "model-00001-of-00002.safetensors"), "lacks shards"),
        (without(models.sharded(1), "model.safetensors.index.json"), "lacks shards or their index"),
        # no fallback: a broken safetensors set is not replaced by the pickle beside it
        (without(models.sharded(1) | models.pickled(1), "model-00002-of-00002.safetensors"), "lacks shards"),
    ],
    ids=["bin only", "no weights", "no tokenizer", "no setup", "missing shard", "no index", "no fallback"],
)
def test_what_cannot_be_used_is_named_before_it_starts(hub: FakeHub, layout: models.Files, reason: str) -> None:
    hub.add(REPO, "step0", layout)
    hub.add(REPO, "step1", models.single(1))
    with pytest.raises(CheckpointError, match=f"{REPO}@step0.*{reason}"):
        find_on_hub(REPO, [0, 1])
    assert [hub_step.name.step for hub_step in find_on_hub(REPO, [0, 1], missing="skip")] == [1]


def test_what_is_left_out_is_said_with_the_reason(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add(REPO, "step0", models.setup_files())
    hub.add(REPO, "step1", models.single(1))
    assert [hub_step.name.step for hub_step in find_on_hub(REPO, [0, 1, 7], missing="skip")] == [1]
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f'{REPO}: missing = "skip" leaves out 2 of 3 steps: step 0: {REPO}@step0 has no weights; leave the step out; '
        "step 7: there is no revision of it"
    )
    with pytest.raises(CheckpointError, match=r'missing = "skip" leaves no step of those requested: step 0: '):
        find_on_hub(REPO, [0, 7], missing="skip")


def test_the_hash_of_a_listing_is_the_hash_of_the_folder(hub: FakeHub, tmp_path: Path) -> None:
    """A copy on disk and the Hub's revision are the same checkpoint, so their units are the same units."""
    hub.add(REPO, "step7", models.sharded(3))
    (tmp_path / "step7").mkdir()
    for name, content in models.sharded(3).items():
        (tmp_path / "step7" / name).write_bytes(content)
    (remote,) = find_checkpoints(REPO, [7])
    (local,) = find_checkpoints(REPO, [7], tmp_path)
    assert (remote.content_hash, remote.setup_hash) == (local.content_hash, local.setup_hash)
    assert remote.commit_sha == hub.branches[REPO]["step7"]
    assert remote.tokens_seen == 7 * 2_097_152
    assert hub.requests["GET file"] == 0


def test_every_step_of_a_pattern(hub: FakeHub) -> None:
    olmo = "allenai/OLMo-2-1124-7B"
    for step, billions in ((150, 1), (600, 3)):
        hub.add(olmo, f"stage1-step{step}-tokens{billions}B", models.single(step))
    hub.add(olmo, "main", models.single(1))
    checkpoints = find_checkpoints(olmo, pattern="stage1-step{step}-tokens{n}B")
    assert [(c.revision, c.step, c.tokens_seen) for c in checkpoints] == [
        ("stage1-step150-tokens1B", 150, 10**9),
        ("stage1-step600-tokens3B", 600, 3 * 10**9),
    ]
    hub.add("someone/else", "main", models.single(1))  # of no suite
    with pytest.raises(CheckpointError, match=r"no branch .* fits the pattern 'step\{step\}'"):
        find_checkpoints("someone/else")


def test_no_such_repository(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError, match="404: there is no such repository"):
        list_refs("nobody/nothing")
    assert hub.requests["GET refs"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "/refs|/tree/", status=503, times=3),
        Fault("status", "/refs|/tree/", status=429, times=2),
        Fault("status", "/refs", status=429, headers={"Retry-After": "0"}, times=2),
        Fault("status", "/tree/", status=429, headers={"RateLimit": '"api";r=0;t=0'}, times=2),
        Fault("truncate", "/refs|/tree/", times=2),
        Fault("hang", "/refs|/tree/", times=1),
    ],
    ids=["503", "429", "Retry-After", "RateLimit", "truncated", "hang"],
)
def test_faults_of_the_api_pass(hub: FakeHub, fault: Fault) -> None:
    hub.add(REPO, "step0", models.single(0))
    hub.faults = [fault]
    assert [hub_step.name.step for hub_step in find_on_hub(REPO, [0])] == [0]
    assert fault.times == 0


def test_every_request_of_a_listing_has_the_time_limit(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own requests have none, or another one: a hanging server would hang the sweep."""
    session, limits = get_session(), []

    class Recording:
        @staticmethod
        def get(url: str, **options: Any) -> Any:
            limits.append(options.get("timeout"))
            return session.get(url, **options)

    monkeypatch.setattr("dynamics.hub.api.get_session", Recording)
    hub.add(REPO, "step0", models.single(0))
    find_on_hub(REPO, [0])
    assert len(limits) >= 2
    assert set(limits) == {api.API_TIMEOUT}


def test_a_permanently_broken_api_is_reported(hub: FakeHub) -> None:
    hub.add(REPO, "step0", models.single(0))
    hub.faults = [Fault("status", "/refs", status=503, times=99)]
    with pytest.raises(CheckpointError, match=r"503.*6 attempts"):
        list_refs(REPO)


def test_the_token_is_sent_and_never_shown(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_SECRETsecret123\n")
    hub.add(REPO, "step0", models.single(0))
    list_refs(REPO)
    assert set(hub.tokens) == {"Bearer hf_SECRETsecret123"}
    hub.faults = [
        Fault(
            "status", "/refs", status=400, headers={"X-Error-Message": "bad hf_SECRETsecret123"}, body="{authorization}"
        )
    ]
    with pytest.raises(CheckpointError) as caught:
        list_refs(REPO)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("oid", value) for value in ("../../x", None, 5, [], {})),
        *(("size", value) for value in ("many", "5", None, [5], {}, -5, 1.5, True, 2**63)),
        *(("path", value) for value in (None, 5, ["model.safetensors"], {})),
        *(("lfs", value) for value in (5, "x", [1], [[]], {"oid": "../../../x", "size": 1, "pointerSize": 1})),
    ],
)
def test_a_listing_with_ids_that_are_none_is_refused(hub: FakeHub, field: str, value: object) -> None:
    sha = hub.add(REPO, "step0", models.single(0))
    hub.tree_overrides = {sha: {"model.safetensors": {field: value}}}
    with pytest.raises(CheckpointError, match=r"hex digits|not the Hub's"):
        find_on_hub(REPO, [0])


def test_a_commit_that_is_none_is_refused(hub: FakeHub) -> None:
    hub.branches[REPO] = {"step0": "../../../../etc"}
    with pytest.raises(CheckpointError, match="not 40 hex digits"):
        find_on_hub(REPO, [0])


PORTAL = """<!DOCTYPE html><html><head><title>Guest network</title><script>var x = "hf_SECRETsecret123"</script></head>
<body><h1>Please sign in</h1> to go on</body></html>"""


@pytest.mark.parametrize("match", ["/refs", "/tree/"])
@pytest.mark.parametrize(
    ("body", "words"),
    [(PORTAL, "'Guest network Please sign in to go on'"), ("Blocked by policy", "'Blocked by policy'")],
)
def test_a_page_instead_of_json_is_refused_with_its_first_words(
    hub: FakeHub, match: str, body: str, words: str
) -> None:
    hub.add(REPO, "step0", models.single(0))
    hub.faults = [Fault("status", match, status=200, body=body, headers={"Content-Type": "text/html"}, times=99)]
    with pytest.raises(CheckpointError, match=f"is not the Hub: it says {words}") as caught:
        find_on_hub(REPO, [0])
    assert "\n" not in str(caught.value)
    assert hub.faults[0].times == 98


@pytest.mark.parametrize("match", ["/refs", "/tree/"])
@pytest.mark.parametrize("times", [1, 99])
def test_json_that_is_cut_off_is_requested_again(hub: FakeHub, match: str, times: int) -> None:
    """The announced length is that of the half, so the client takes it for the whole."""
    hub.add(REPO, "step0", models.single(0))
    hub.faults = [Fault("status", match, status=200, body='[{"type": "file", "pa', times=times)]
    if times == 1:
        assert [found.name.step for found in find_on_hub(REPO, [0])] == [0]
    else:
        with pytest.raises(Unreachable, match=r"cut off.*6 attempts"):
            find_on_hub(REPO, [0])


@pytest.mark.parametrize("size", [2, 1000])
def test_pages_that_loop_are_refused(hub: FakeHub, size: int) -> None:
    sha = hub.add(REPO, "step0", models.sharded(0))
    hub.page_size, hub.loops = size, True
    with pytest.raises(CheckpointError, match="pages repeat without end"):
        list_files(REPO, sha)
    assert hub.requests["GET tree"] <= 5


@pytest.mark.parametrize("status", [401, 404])
def test_a_missing_repository_is_called_missing(hub: FakeHub, status: int) -> None:
    """The Hub answers 401 to everyone who does not show a token."""
    hub.faults = [
        Fault("status", "/refs", status=status, headers={"X-Error-Code": "RepoNotFound"} if status == 404 else {})
    ]
    with pytest.raises(
        CheckpointError, match=f"nobody/nothing: {status}: there is no such repository, or it is private"
    ):
        list_refs("nobody/nothing")
    hub.faults = [Fault("status", "/refs", status=403, headers={"X-Error-Code": "GatedRepo"})]
    with pytest.raises(CheckpointError, match="403: it is gated; accept its terms"):
        list_refs("nobody/nothing")


def test_a_next_page_that_is_no_url_is_refused(hub: FakeHub) -> None:
    sha = hub.add(REPO, "step0", models.sharded(0))
    hub.page_size, hub.next_host = 2, "http://[none"
    with pytest.raises(CheckpointError, match=r"continues at 'http://\[none.*', which is no URL; check HF_ENDPOINT"):
        list_files(REPO, sha)


@pytest.mark.parametrize(
    "answer",
    [
        "[1]",
        '["file"]',
        "[null]",
        "[[]]",
        '[[{"type": "file"}]]',
        "[{}, 5]",
        '{"a": 1}',
        "7",
        "null",
        '"file"',
        "[" * 9999,
    ],
)
def test_a_listing_of_anything_else_is_refused_and_not_kept(hub: FakeHub, answer: str) -> None:
    sha = hub.add(REPO, "step0", models.single(0))
    hub.faults = [Fault("status", "/tree/", status=200, body=answer, times=9)]
    with pytest.raises(CheckpointError, match=r"is not a list of files|cut off or damaged"):
        list_files(REPO, sha)
    hub.faults = []
    assert len(list_files(REPO, sha)) == len(models.single(0))


@pytest.mark.parametrize("answer", ["[1]", "{}", "7", "null", '{"branches": [1]}', '{"branches": 1, "tags": []}'])
def test_refs_of_anything_else_are_refused_and_not_kept(
    hub: FakeHub, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, "step0", models.single(0))
    sound = list_refs(REPO)
    hub.faults = [Fault("status", "/refs", status=200, body=answer, times=9)]
    with pytest.raises(CheckpointError, match="does not answer as the Hub does"):
        list_refs(REPO)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list_refs(REPO) == sound


@pytest.mark.parametrize("text", ["[1]", "7", "{}", '[{"type": "file"}]', "[" * 9999, '[{"type": "file", "path": 7, "'])
def test_a_kept_listing_of_another_form_is_requested_again(
    hub: FakeHub, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = hub.add(REPO, "step0", models.single(0))
    sound = list_files(REPO, sha)
    (kept,) = (tmp_path / "cache").rglob(f"{sha}.json")
    kept.write_text(text)
    assert list_files(REPO, sha) == sound
    assert hub.requests["GET tree"] == 2
    kept.write_text(text)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError):
        list_files(REPO, sha)


def test_offline_what_was_listed_before_serves(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, "step0", models.single(0))
    before = find_on_hub(REPO, [0])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    assert find_on_hub(REPO, [0]) == before
    with pytest.raises(CheckpointError, match="never listed here"):
        find_on_hub("EleutherAI/pythia-31m", [0])
    assert not hub.requests


def test_equal_weights_are_flagged_and_a_chimera_is_quarantined(hub: FakeHub) -> None:
    hub.add(REPO, "step0", models.sharded(0))
    hub.add(REPO, "step1", models.sharded(0))
    hub.add(REPO, "step1000", models.chimera(2, 9))
    hub.add(REPO, "step2000", models.sharded(3))
    hub.add(REPO, "step143000", models.sharded(9))
    by_step = {c.step: c for c in find_checkpoints(REPO, [0, 1, 1000, 2000, 143_000])}
    assert {step: c.flags for step, c in by_step.items()} == {
        0: ("duplicate",),
        1: ("duplicate",),
        1000: ("quarantined",),
        2000: (),
        143_000: (),
    }
    assert "model-00001-of-00002.safetensors is the same file as in step 143000" in by_step[1000].notes[0]
    assert by_step[0].content_hash == by_step[1].content_hash != by_step[2000].content_hash
    assert find_checkpoints(REPO, [1000])[0].flags == ("quarantined",)


def test_errata_hold_only_while_the_wrong_files_are_there() -> None:
    def at(digest: str) -> HubRevision:
        weights = (HubFile("model.safetensors", 1, "0" * 40, digest),)
        return HubRevision("EleutherAI/pythia-2.8b", "step1000", "0" * 40, "safetensors", weights, ())

    wrong = "ab496f1c3fd79e3c749a9d5414136a2c8e4224f94eecb261970315cdb0f813fe"

    def found(step: int, digest: str) -> Findings:
        return audit({step: (at(digest),)})[step][0]

    assert found(1000, wrong).flags == ("quarantined",)
    assert "#205" in found(1000, wrong).notes[0]
    assert found(1000, "0" * 64).flags == ()
    assert found(143_000, wrong).flags == ()


@pytest.mark.parametrize("size", ["14m", "31m"])
def test_models_that_became_other_models_say_so_at_every_step(hub: FakeHub, size: str) -> None:
    """Under their id; the deduplicated ones have ids, and the same steps, of their own."""
    for repo in (f"EleutherAI/pythia-{size}", f"EleutherAI/pythia-{size}-deduped"):
        for step in (0, 512, 143_000):
            hub.add(repo, f"step{step}", models.single(step % 7))
    changed = find_checkpoints(f"EleutherAI/pythia-{size}", [0, 512, 143_000])
    for checkpoint in changed:
        assert any(
            f"older results of this id are those of pythia-{size}-deduped" in note for note in checkpoint.notes
        ), checkpoint
    deduped = find_checkpoints(f"EleutherAI/pythia-{size}-deduped", [512, 143_000])
    assert [(c.notes, c.tokens_seen) for c in deduped] == [((), 512 * 2_097_152), ((), 143_000 * 2_097_152)]


def test_the_errata_are_well_formed() -> None:
    assert {erratum.action for erratum in errata()} == {"quarantine", "equal", "note"}
    assert all(erratum.text for erratum in errata())
    assert all("#" in erratum.issue or erratum.issue.startswith("reported in ") for erratum in errata())
    assert all(erratum.sha256 for erratum in errata() if erratum.action == "quarantine")
    (listed,) = [e for e in errata() if "#205" in e.issue and "main" in e.text]
    assert len(listed.steps) + sum(len(range(a, b + 1, c)) for a, b, c in listed.ranges) == 76
