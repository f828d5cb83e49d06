"""A local Hub: enough of the API for the real huggingface_hub client, with faults that tests switch on.

Serves `/api/models/{repo}/refs`, `/api/models/{repo}/tree/{sha}` in pages, and `/{repo}/resolve/{sha}/{file}` with
ETag, X-Repo-Commit and Range, as the Hub does: git blob ids for small files, sha256 for weights and Parquet (LFS). The
repo of a dataset is `datasets/{repo}`, its API at `/api/datasets/{repo}`. Large files may be redirected to a store by
signed links that expire, and be said to be in the Xet store.
"""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet")


@dataclass
class Fault:
    """A fault of the next `times` requests that match.

    Attributes:
        kind: `status`; `hang` (no answer); `headers` (wrong headers); of a file's GET also `truncate` (half of the
            announced bytes), `flip` (one byte differs), `length` (fewer bytes, announced so), `die` (half of the
            bytes, and the server rejects every later request).
        match: regular expression searched in the path.
        method: `GET` or `HEAD`.
        times: number of requests it affects.
        status, headers, body: of the answer.
    """

    kind: str
    match: str = r"/resolve/.*\.safetensors"
    method: str = "GET"
    times: float = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class FakeHub:
    """A Hub: its content, its faults, and a record of the requests.

    Attributes:
        branches: repository -> branch -> commit.
        trees: commit -> path -> content.
        tree_overrides: commit -> path -> keys of the tree's entry to be replaced by wrong ones.
        faults: applied in order; one without remaining `times` is skipped.
        bytes_per_second: of each response's body; None for no limit.
        page_size, next_host: entries of a page of a listing, and where the next page is said to be.
        store: where large files are redirected to, such as `http://localhost:1`; `//localhost:1` without scheme; None
            for no redirect. `signed` counts the links given, and those up to `expired` are refused.
        xet, xet_store: whether large files are in the Xet store too, under another hash; where that is, None for here.
            Here it gives a token, and nothing else: it never answers what a file consists of.
        loops: whether the last page of a listing links to itself.
        requests: `METHOD kind` (refs, tree, file, xet, content) -> count; `files`: path -> GETs; `sent`: path -> bytes.
        tokens: values of the Authorization header.
    """

    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tree_overrides: dict[str, dict[str, dict]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    bytes_per_second: float | None = None
    page_size: int = 1000
    next_host: str = ""
    store: str | None = None
    signed: int = 0
    expired: int = 0
    xet: bool = False
    xet_store: str | None = None
    loops: bool = False
    requests: Counter = field(default_factory=Counter)
    files: Counter = field(default_factory=Counter)
    sent: Counter = field(default_factory=Counter)
    tokens: list[str] = field(default_factory=list)
    endpoint: str = ""
    dead: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)

    def add(self, repo: str, branch: str, files: Mapping[str, bytes]) -> str:
        """Add a branch; returns its commit."""
        digest = hashlib.sha1(f"{repo}@{branch}".encode())
        for name in sorted(files):
            digest.update(name.encode() + files[name])
        sha = digest.hexdigest()
        self.branches.setdefault(repo, {})[branch] = sha
        self.trees[sha] = dict(files)
        return sha

    def reset_counts(self) -> None:
        """Reset the record of requests."""
        self.requests.clear()
        self.files.clear()
        self.sent.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if any."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.match, path):
                    fault.times -= 1
                    return fault
        return None


def git_oid(content: bytes) -> str:
    """Git's id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def xet_hash(content: bytes) -> str:
    """What the Xet store would call a content: not its sha256."""
    return hashlib.sha256(b"xet" + content).hexdigest()


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self) -> None:
        hub, url = self.hub, urlsplit(self.path)
        path = unquote(url.path)
        kind = "refs" if path.endswith("/refs") else "tree" if "/tree/" in path else "file"
        kind = {"/api/xet-token": "xet", "/": "store"}.get(path, "content" if "/reconstructions/" in path else kind)
        api = re.sub(r"^/api/(models/|(?=datasets/))", "", path)
        with hub.lock:
            hub.requests[f"{self.command} {kind}"] += 1
            if authorization := self.headers.get("Authorization"):
                hub.tokens.append(authorization)
        if hub.dead:
            self.close_connection = True
            return
        fault = hub.take(self.command, path)
        if (fault and fault.kind == "hang") or kind == "content":
            hub.released.wait()
            self.close_connection = True
        elif fault and fault.kind == "status":
            body = fault.body.replace("{authorization}", authorization or "")
            self._send(fault.status, body.encode(), fault.headers)
        elif kind == "refs":
            self._refs(api.removesuffix("/refs"), fault)
        elif kind == "tree":
            self._tree(*api.split("/tree/"), query=parse_qs(url.query), fault=fault)
        elif path == "/api/xet-token":
            token = {"X-Xet-Access-Token": "token", "X-Xet-Token-Expiration": str(int(time.time()) + 3600)}
            self._send(200, b"{}", {"X-Xet-Cas-Url": self.hub.xet_store or self.hub.endpoint, **token})
        elif stored := re.fullmatch(r"/store/([0-9a-f]{64})/(\d+)", path):
            self._stored(stored[1], int(stored[2]), fault)
        elif named := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self._file(*named.groups(), fault=fault)
        else:
            self._send(404, b"", {})

    def _refs(self, repo: str, fault: Fault | None) -> None:
        if repo not in self.hub.branches:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
            for name, sha in self.hub.branches[repo].items()
            if not name.startswith("refs/")
        ]
        converts = [
            {"name": name.rsplit("/", 1)[-1], "ref": name, "targetCommit": sha}
            for name, sha in self.hub.branches[repo].items()
            if name.startswith("refs/convert/")
        ]
        self._json({"branches": branches, "converts": converts, "tags": []}, fault)

    def _tree(self, repo: str, sha: str, query: Mapping[str, list[str]], fault: Fault | None) -> None:
        if sha not in self.hub.trees:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        entries = []
        for path, content in sorted(self.hub.trees[sha].items()):
            entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
            if path.endswith(LFS_SUFFIXES):
                lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
                entry |= {"lfs": lfs, "oid": git_oid(lfs["oid"].encode())}
            entries.append(entry | self.hub.tree_overrides.get(sha, {}).get(path, {}))
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.hub.page_size < len(entries) or self.hub.loops:
            api = repo if repo.startswith("datasets/") else f"models/{repo}"
            following = f"{self.hub.next_host or self.hub.endpoint}/api/{api}/tree/{sha}?recursive=true&cursor="
            headers["Link"] = f'<{following}{start + self.hub.page_size}>; rel="next"'
        self._json(entries[start : start + self.hub.page_size], fault, headers)

    def _file(self, repo: str, revision: str, path: str, fault: Fault | None) -> None:
        sha = self.hub.branches.get(repo, {}).get(revision, revision)
        content = self.hub.trees.get(sha, {}).get(path)
        if content is None or repo not in self.hub.branches:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            return
        is_lfs = path.endswith(LFS_SUFFIXES)
        etag = hashlib.sha256(content).hexdigest() if is_lfs else git_oid(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if is_lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if is_lfs and self.hub.xet:
            headers |= {"X-Xet-Hash": xet_hash(content), "X-Xet-Refresh-Route": f"{self.hub.endpoint}/api/xet-token"}
        if fault and fault.kind == "headers":
            headers |= fault.headers
        if self.command == "GET":
            with self.hub.lock:
                self.hub.files[path] += 1
        if is_lfs and self.hub.store is not None and not (fault and fault.kind != "headers"):
            with self.hub.lock:
                self.hub.signed += 1
            self._send(302, b"", headers | {"Location": f"{self.hub.store}/store/{etag}/{self.hub.signed}"})
            return
        self._content(content, headers, fault.kind if fault else "")
        if self.command == "GET":
            with self.hub.lock:
                self.hub.sent[path] += len(content)

    def _stored(self, sha256: str, number: int, fault: Fault | None) -> None:
        """A large file by its signed link."""
        found = (
            c for tree in self.hub.trees.values() for c in tree.values() if hashlib.sha256(c).hexdigest() == sha256
        )
        if number <= self.hub.expired:
            self._send(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", {})
        else:
            self._content(next(found), {"ETag": '"other"'}, fault.kind if fault else "")

    def _content(self, content: bytes, headers: dict[str, str], kind: str) -> None:
        status, start, total = 200, 0, len(content)
        if span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(span[1])
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        body = content[start:]
        if kind == "flip" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
        if kind == "length":
            body = body[: len(body) // 2]
        announced = len(body)
        if kind in ("truncate", "die"):
            body = body[: len(body) // 2]
            self.close_connection = True
        self._send(status, body, headers, announced)
        if kind == "die":
            self.hub.dead = True

    def _json(self, value: object, fault: Fault | None, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        if fault and fault.kind == "truncate":
            self.close_connection = True
            self._send(200, body[: len(body) // 2], headers or {}, len(body))
        else:
            self._send(200, body, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], announced: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body) if announced is None else announced)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        pace = self.hub.bytes_per_second
        for start in range(0, len(body), 16_384):
            chunk = body[start : start + 16_384]
            if pace:
                time.sleep(len(chunk) / pace)
            self.wfile.write(chunk)
