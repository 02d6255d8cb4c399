"""A hub of models on loopback: what huggingface_hub asks of the real one to fetch a repository."""

import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


class Hub:
    """Serves `<folder>/<owner>/<name>/...` as models, and counts what is downloaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commit = "a" * 40
        self.downloads: Counter[str] = Counter()
        self.requests = 0
        """Of any kind."""
        self.bytes = 0
        self._lock = threading.Lock()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Its address, for HF_ENDPOINT."""
        runner = web.AppRunner(self._app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._counted()])
        app.add_routes(
            [
                web.get("/api/models/{owner}/{name}", self._info),
                web.get("/api/models/{owner}/{name}/revision/{revision}", self._info),
                web.get("/api/models/{owner}/{name}/tree/{revision}", self._tree),
                web.get("/{owner}/{name}/resolve/{revision}/{path:.*}", self._file),
            ]
        )
        return app

    def _counted(self) -> Middleware:
        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            with self._lock:
                self.requests += 1
            return await handler(request)

        return counted

    def _repository(self, request: web.Request) -> Path:
        folder = self.folder / request.match_info["owner"] / request.match_info["name"]
        if not folder.is_dir():
            raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound"})
        return folder

    def _files(self, folder: Path) -> dict[str, Path]:
        return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}

    async def _info(self, request: web.Request) -> web.Response:
        files = self._files(self._repository(request))
        return web.json_response(
            {
                "_id": "1",
                "id": f"{request.match_info['owner']}/{request.match_info['name']}",
                "sha": self.commit,
                "siblings": [{"rfilename": name} for name in files],
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
        )

    async def _tree(self, request: web.Request) -> web.Response:
        files = self._files(self._repository(request))
        return web.json_response(
            [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _oid(path)}
                for name, path in files.items()
            ]
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = self._repository(request) / request.match_info["path"]
        if not path.is_file():
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{_oid(path)}"'}
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(path.stat().st_size)})
        data = path.read_bytes()
        with self._lock:
            self.downloads[request.match_info["path"]] += 1
            self.bytes += len(data)
        return web.Response(body=data, headers=headers)


def tiny_hub(folder: Path, model: Path, name: str = "acme/tiny") -> Hub:
    """A hub that has a model with a variant of its own, and files beside it that nobody wants."""
    repository = folder / name
    shutil.copytree(model, repository)
    weights = repository / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    weights.with_suffix(".bin").write_bytes(b"a pickle")
    (repository / "all_in_one.safetensors").write_bytes(bytes(100_000))
    return Hub(folder)


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
