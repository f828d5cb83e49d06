"""Every fault of a download: the right bytes come out, or the fetch fails and says why; never a wrong file."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_download

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub import retries
from dynamics.hub.fetch import fetch_revision
from dynamics.hub.listing import HubRevision
from dynamics.hub.settings import settings
from dynamics.loading import load_model, load_tokenizer
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault

REPO = "EleutherAI/pythia-14m"
WEIGHTS = r"/resolve/.*\.safetensors"


def revision(hub: FakeHub, files: models.Files, allow_pickle: bool = False) -> HubRevision:
    """A repository with these files, listed."""
    hub.add(REPO, "step0", files)
    (checkpoint,) = find_checkpoints(REPO, [0], allow_pickle=allow_pickle)
    assert checkpoint.remote is not None
    return checkpoint.remote


def opened(hub: FakeHub, files: models.Files, allow_pickle: bool = False) -> torch.Tensor:
    """The unembedding of the model these files give, through fetch and load."""
    hub.add(REPO, "step0", files)
    (listed,) = find_checkpoints(REPO, [0], allow_pickle=allow_pickle)
    assert listed.remote is not None
    checkpoint = replace(listed, folder=fetch_revision(listed.remote))
    load_tokenizer(checkpoint)
    return load_model(checkpoint).get_output_embeddings().weight


def unembedding(seed: int) -> torch.Tensor:
    """What a test model's unembedding is."""
    from safetensors.torch import load

    tensors = load(models.single(seed)["model.safetensors"])
    (name,) = (name for name in tensors if "embed_out" in name or "lm_head" in name)
    return tensors[name]


@pytest.mark.parametrize(
    "layout",
    [models.single(1), models.sharded(1, 3), models.both(1), models.pickled(1), models.pickled(1, 2)],
    ids=["single", "sharded", "both", "bin", "sharded bin"],
)
def test_every_layout_is_opened_by_transformers(hub: FakeHub, layout: models.Files) -> None:
    assert torch.equal(opened(hub, layout, allow_pickle=True), unembedding(1))


def test_only_what_is_needed_is_downloaded(hub: FakeHub) -> None:
    fetch_revision(revision(hub, models.both(1) | {"README.md": b"x" * 10_000, "optimizer.bin": b"x" * 10_000}))
    assert set(hub.files) == {*models.SETUP, "model.safetensors"}
    assert set(hub.files.values()) == {1}


TRANSIENT = {
    "503": Fault("status", WEIGHTS, status=503, times=3),
    "500 of HEAD": Fault("status", WEIGHTS, "HEAD", status=500, times=3),
    "429": Fault("status", WEIGHTS, status=429, times=3),
    "429 Retry-After": Fault("status", WEIGHTS, status=429, headers={"Retry-After": "0"}, times=3),
    "429 RateLimit": Fault(
        "status", WEIGHTS, "HEAD", status=429, headers={"RateLimit": '"resolvers";r=0;t=0'}, times=2
    ),
    "truncated": Fault("truncate", WEIGHTS, times=9),
    "short": Fault("length", WEIGHTS, times=2),
    "flipped byte": Fault("flip", WEIGHTS, times=1),
    "flipped config": Fault("flip", "config.json", times=1),
    "hang": Fault("hang", WEIGHTS, times=1),
    "hang of HEAD": Fault("hang", WEIGHTS, "HEAD", times=1),
}


@pytest.mark.parametrize("kind", TRANSIENT)
def test_transient_faults_cost_time_only(hub: FakeHub, kind: str) -> None:
    fault = Fault(**TRANSIENT[kind].__dict__)
    hub.faults = [fault]
    assert torch.equal(opened(hub, models.sharded(1)), unembedding(1))
    assert fault.times < TRANSIENT[kind].times


def permanent(kind: str, method: str = "GET", match: str = WEIGHTS, **answer: object) -> Fault:
    """A fault of every request."""
    return Fault(kind, match, method, times=999, **answer)  # pyright: ignore[reportArgumentType]


ELSEWHERE = {"X-Linked-Etag": '"../../../../evil"'}
PERMANENT = {
    "503": (permanent("status", status=503), r"503.*6 attempts"),
    "403": (permanent("status", "HEAD", status=403), r"403"),
    "gone": (permanent("status", "HEAD", status=404, headers={"X-Error-Code": "EntryNotFound"}), r"does not have it"),
    "short": (permanent("length"), r"size .* but has size"),
    "flipped byte": (permanent("flip"), r"hash [0-9a-f]{64}, the listing says [0-9a-f]{64}, twice"),
    "flipped config": (permanent("flip", match="/config.json"), r"config.json: hash [0-9a-f]{40}, the listing says"),
    "other content": (permanent("headers", "HEAD", headers={"X-Linked-Etag": '"abc"'}), r"offers content 'abc'"),
    "traversal": (permanent("headers", "HEAD", headers=ELSEWHERE), r"offers content '../../../../evil'"),
    "dies half way": (Fault("die", WEIGHTS), r"6 attempts"),
}


@pytest.mark.parametrize("kind", PERMANENT)
def test_permanent_faults_fail_clearly_and_leave_nothing(hub: FakeHub, kind: str, tmp_path: Path) -> None:
    fault, message = PERMANENT[kind]
    what = revision(hub, models.single(1))
    hub.faults = [Fault(**fault.__dict__)]
    with pytest.raises(CheckpointError, match=message) as caught:
        fetch_revision(what)
    assert REPO in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [
        p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".safetensors", ".incomplete") or "evil" in p.name
    ]


def store_at(hub: FakeHub, scheme: str = "http:") -> str:
    """The file store of the Hub, on another host."""
    return f"{scheme}//localhost:{hub.endpoint.rsplit(':', 1)[1]}"


@pytest.mark.parametrize("scheme", ["http:", ""])
def test_the_file_store_may_be_elsewhere(hub: FakeHub, scheme: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_SECRETsecret123")
    hub.store = store_at(hub, scheme)
    assert torch.equal(opened(hub, models.sharded(1)), unembedding(1))
    assert hub.signed >= 2


def test_a_signed_link_that_has_expired_is_requested_again(hub: FakeHub) -> None:
    hub.store, hub.expired = store_at(hub), 2  # the first HEAD is ours, the second the client's
    assert torch.equal(opened(hub, models.single(1)), unembedding(1))
    assert hub.signed == 4


def test_links_that_are_always_refused_fail_as_what_may_pass(hub: FakeHub) -> None:
    what = revision(hub, models.single(1))
    hub.store, hub.expired = store_at(hub), 99
    with pytest.raises(Unreachable, match=r"403.*6 attempts"):
        fetch_revision(what)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_refusal_of_the_hub_itself_is_final(hub: FakeHub, method: str) -> None:
    what = revision(hub, models.single(1))
    hub.faults = [permanent("status", method, status=403)]
    with pytest.raises(CheckpointError, match="403") as caught:
        fetch_revision(what)
    assert not isinstance(caught.value, Unreachable)
    assert hub.faults[0].times == 998


def test_a_store_that_is_dead_is_given_up_soon(hub: FakeHub) -> None:
    what = revision(hub, models.single(1))
    hub.store = "http://localhost:9"
    with pytest.raises(Unreachable, match="2 attempts"):
        fetch_revision(what)


@pytest.mark.parametrize(
    "wrong", [{"oid": "0" * 40, "lfs": None}, {"lfs": {"oid": "0" * 64}}, {"size": 7}], ids=["no lfs", "hash", "size"]
)
def test_a_kept_listing_that_was_wrong_is_replaced(hub: FakeHub, wrong: dict) -> None:
    sha = hub.add(REPO, "step0", models.single(1))
    hub.tree_overrides = {sha: {"model.safetensors": wrong}}
    (found,) = find_checkpoints(REPO, [0])
    assert found.remote is not None
    with pytest.raises(CheckpointError, match="listing says"):  # requested again, and still the same
        fetch_revision(found.remote)
    hub.tree_overrides = {}
    with pytest.raises(CheckpointError, match="kept of it was wrong and is replaced; run the command again"):
        fetch_revision(found.remote)
    (found,) = find_checkpoints(REPO, [0])
    assert found.remote is not None
    assert fetch_revision(found.remote).is_dir()


SECOND_HEAD = {
    "another ETag": {"X-Linked-Etag": f'"{"a" * 64}"'},
    "another commit": {"X-Repo-Commit": "b" * 40},
}


def every_second_head(times: int, headers: dict[str, str]) -> list[Fault]:
    """A sound answer, then one with these headers, and so on."""
    pair = (Fault("sound", WEIGHTS, "HEAD"), Fault("headers", WEIGHTS, "HEAD", headers=headers))
    return [replace(fault) for _ in range(times) for fault in pair]


@pytest.mark.parametrize("kind", SECOND_HEAD)
@pytest.mark.parametrize("times", [1, 99])
def test_what_the_client_puts_elsewhere_does_not_stay(hub: FakeHub, kind: str, times: int, tmp_path: Path) -> None:
    """The client asks again before it downloads, and names the content after that answer."""
    what = revision(hub, models.single(1))
    once = Fault("sound", WEIGHTS, "HEAD", times=1)
    hub.faults = [
        f
        for _ in range(times)
        for f in (replace(once), Fault("headers", WEIGHTS, "HEAD", 1, headers=SECOND_HEAD[kind]))
    ]
    if times == 1:
        folder = fetch_revision(what)
        assert (folder / "model.safetensors").read_bytes() == models.single(1)["model.safetensors"]
    else:
        with pytest.raises(Unreachable, match="another commit or another content"):
            fetch_revision(what)
    root = tmp_path / "cache" / "models--EleutherAI--pythia-14m"
    wanted = {file.etag for file in what.files if times == 1 or file not in what.weights}
    assert {path.name for path in (root / "blobs").iterdir()} == wanted
    assert [path.name for path in (root / "snapshots").iterdir()] == [what.commit_sha]


def test_what_the_user_had_of_that_other_commit_stays(hub: FakeHub) -> None:
    what = revision(hub, models.single(1))
    other = hub.add(REPO, "step1", models.single(2))
    name = "model.safetensors"
    theirs = Path(
        hf_hub_download(REPO, name, revision=other, endpoint=hub.endpoint, token=False, cache_dir=settings().cache)
    )
    hub.faults = every_second_head(9, {"X-Repo-Commit": other})
    with pytest.raises(Unreachable):
        fetch_revision(what)
    assert theirs.read_bytes() == models.single(2)[name]


def test_a_link_in_the_cache_that_leads_outside_is_not_read(hub: FakeHub, tmp_path: Path) -> None:
    what = revision(hub, models.single(1))
    config = fetch_revision(what) / "config.json"
    config.resolve().rename(tmp_path / "config.json")
    config.unlink()
    config.symlink_to(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"outside .*remove that link"):
        fetch_revision(what)


def test_a_login_page_instead_of_a_file_is_reported(hub: FakeHub) -> None:
    what = revision(hub, models.single(1))
    hub.faults = [
        Fault("status", "/resolve/", "HEAD", status=302, headers={"Location": "http://localhost/login"}, times=99)
    ]
    with pytest.raises(CheckpointError, match="is not the Hub"):
        fetch_revision(what)


def test_a_changed_file_in_the_cache_is_noticed_and_replaced(hub: FakeHub) -> None:
    what = revision(hub, models.single(1))
    weights = fetch_revision(what) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    assert (fetch_revision(what) / "model.safetensors").read_bytes() == models.single(1)["model.safetensors"]


def test_offline_the_cache_serves_and_nothing_is_deleted(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    what = revision(hub, models.single(1))
    folder = fetch_revision(what)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    assert fetch_revision(what) == folder
    (folder / "model.safetensors").resolve().write_bytes(b"x")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        fetch_revision(what)
    assert (folder / "model.safetensors").exists()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"is not in .*HF_HUB_OFFLINE"):
        fetch_revision(what)
    assert not hub.requests


def test_a_model_is_opened_without_pickled_objects_and_without_remote_code(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader's own defaults may change, and a malicious file shows only one of them."""
    seen: dict[str, object] = {}

    def opening(*_: object, **options: object) -> None:
        seen.update(options)
        raise OSError("seen enough")

    monkeypatch.setattr("dynamics.loading.AutoModelForCausalLM.from_pretrained", opening)
    with pytest.raises(Exception, match="seen enough"):
        opened(hub, models.pickled(1), allow_pickle=True)
    assert seen["weights_only"] is True
    assert seen["trust_remote_code"] is False
    assert seen["local_files_only"] is True


def test_a_malicious_pickle_does_nothing(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be opened"):
        opened(hub, models.malicious(tmp_path / "touched"), allow_pickle=True)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["../../../evil.safetensors", "model-00003-of-00003.safetensors"])
def test_an_index_that_names_other_files_is_refused(hub: FakeHub, name: str) -> None:
    files = models.sharded(1)
    index = files["model.safetensors.index.json"].replace(b"model-00001-of-00002.safetensors", name.encode(), 1)
    with pytest.raises(CheckpointError, match=r"index.json and the shards listed differ"):
        fetch_revision(revision(hub, files | {"model.safetensors.index.json": index}))
    assert set(hub.sent) == {*models.SETUP, "model.safetensors.index.json"}


def test_a_stub_tokenizer_is_reported(hub: FakeHub) -> None:
    stub = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(CheckpointError, match=r"tokenizer.json is a Git LFS pointer, not the file"):
        opened(hub, models.single(1) | {"tokenizer.json": stub})


def test_a_full_disk_is_reported(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    what = revision(hub, models.single(1))
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(CheckpointError, match=r"disk is full.*disk_gb.*HF_HUB_CACHE"):
        fetch_revision(what)


def test_errors_that_stay_are_not_tried_again() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise PermissionError("no")

    with pytest.raises(CheckpointError, match="it: no"):
        retries.with_retries(call, "it")
    assert len(calls) == 1
