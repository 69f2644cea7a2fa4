"""The Hugging Face hub in small: an HTTP server on this machine that answers the requests of uploads and downloads."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import yaml

TOKEN = "hf_of_user"
USER = "user"


@dataclass
class Repo:
    """A repository: what its maker asked for, and (commit's name, its message, its files) from old to new."""

    visibility: str | None
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        found = [(name, files) for name, _, files in self.commits if revision in ("main", name)]
        return found[-1] if found else None


class HubServer(ThreadingHTTPServer):
    """Server of repositories that live in memory; `requests` lists the methods and paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def files(self, name: str) -> dict[str, bytes]:
        return self.repos[name].commits[-1][2]

    def commit(self, name: str, message: str, files: dict[str, bytes]) -> str:
        commits = self.repos[name].commits
        everything = (commits[-1][2] if commits else {}) | files
        oid = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits.append((oid, message, everything))
        return oid


class Handler(BaseHTTPRequestHandler):
    """Answers to requests; the names of the headers and fields are those of the hub's API."""

    protocol_version = "HTTP/1.1"
    server: HubServer  # pyright: ignore[reportIncompatibleVariableOverride] - no other server uses it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.server.requests.append(f"{self.command} {self.path}")

    def do_POST(self) -> None:
        self._answer(POST)

    def do_PUT(self) -> None:
        self._answer(PUT)

    def do_GET(self) -> None:
        self._answer(GET)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _answer(self, routes: dict[str, Callable]) -> None:
        body = self._body()
        for pattern, route in routes.items():
            if match := re.fullmatch(pattern, self.path.partition("?")[0]):
                return route(self, body, *match.groups())
        return self.error(HTTPStatus.NOT_FOUND, "no such route")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def json(self, tree: object) -> None:
        self.send(json.dumps(tree).encode())

    def error(self, status: HTTPStatus, message: str, code: str = "") -> None:
        self.send(json.dumps({"error": message}).encode(), status, {"X-Error-Message": message, "X-Error-Code": code})

    def send(self, body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"


def create(request: Handler, body: bytes) -> None:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    if not request.may_write:
        return request.error(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
    if asked["organization"] != USER:
        return request.error(HTTPStatus.FORBIDDEN, "You don't have the rights to create a model under this namespace")
    if name in request.server.repos:
        return request.send(json.dumps({"error": "exists", "url": f"{request.server.url}/{name}"}).encode(), HTTPStatus.CONFLICT)
    request.server.repos[name] = Repo(asked.get("visibility") or ("private" if asked.get("private") else None))
    request.server.commit(name, "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
    return request.json({"url": f"{request.server.url}/{name}"})


def validate(request: Handler, body: bytes) -> None:
    _, front, text = json.loads(body)["content"].split("---\n", 2)
    good = isinstance(yaml.safe_load(front), dict) and text.strip()
    return request.json({"errors": [], "warnings": []}) if good else request.error(HTTPStatus.BAD_REQUEST, "bad front matter")


def preupload(request: Handler, body: bytes, name: str, revision: str) -> None:
    paths = [file["path"] for file in json.loads(body)["files"]]
    modes = {True: "lfs", False: "regular"}
    request.json({"files": [{"path": p, "uploadMode": modes[p.endswith(".safetensors")], "shouldIgnore": False} for p in paths]})


def batch(request: Handler, body: bytes, name: str) -> None:
    objects = [(one["oid"], one["size"]) for one in json.loads(body)["objects"]]
    actions = [{"oid": oid, "size": size, "actions": {"upload": {"href": f"{request.server.url}/lfs/{oid}"}}} for oid, size in objects]
    request.json({"transfer": "basic", "objects": actions})


def store(request: Handler, body: bytes, oid: str) -> None:
    if hashlib.sha256(body).hexdigest() != oid:
        return request.error(HTTPStatus.BAD_REQUEST, "another SHA-256")
    request.server.objects[oid] = body
    return request.send(b"")


def commit(request: Handler, body: bytes, name: str, revision: str) -> None:
    if not request.may_write:
        return request.error(HTTPStatus.FORBIDDEN, "no write permission")
    lines = [json.loads(line) for line in body.splitlines()]
    values = [(line["key"], line["value"]) for line in lines]
    contents = {"file": lambda value: base64.b64decode(value["content"]), "lfsFile": lambda value: request.server.objects[value["oid"]]}
    files = {value["path"]: contents[key](value) for key, value in values if key != "header"}
    oid = request.server.commit(name, dict(values[:1])["header"]["summary"], files)
    return request.json({"commitUrl": f"{request.server.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})


def resolve(request: Handler, body: bytes, name: str, revision: str, path: str) -> None:
    repo = request.server.repos.get(name)
    if repo is None or (repo.visibility == "private" and not request.may_write):
        return request.error(HTTPStatus.UNAUTHORIZED, "Repository not found", "RepoNotFound")
    found = repo.at(revision)
    if found is None:
        return request.error(HTTPStatus.NOT_FOUND, "Invalid rev id", "RevisionNotFound")
    oid, files = found
    if path not in files:
        return request.error(HTTPStatus.NOT_FOUND, "Entry not found", "EntryNotFound")
    return request.send(files[path], headers={"X-Repo-Commit": oid, "ETag": f'"{hashlib.sha256(files[path]).hexdigest()}"'})


def missing(request: Handler, body: bytes, name: str) -> None:
    request.error(HTTPStatus.UNAUTHORIZED, "Repository not found", "RepoNotFound")


POST = {
    r"/api/repos/create": create,
    r"/api/validate-yaml": validate,
    r"/api/models/(\w+/[\w.-]+)/preupload/(\w+)": preupload,
    r"/api/models/(\w+/[\w.-]+)/commit/(\w+)": commit,
    r"/(\w+/[\w.-]+)\.git/info/lfs/objects/batch": batch,
}
PUT = {r"/lfs/(\w+)": store}
GET = {r"/(\w+/[\w.-]+)/resolve/(\w+)/(.+)": resolve, r"/api/models/(\w+/[\w.-]+)": missing}
