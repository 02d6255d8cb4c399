"""Downloads the weights of a pipeline to this machine's cache, and tells how far it is.

Which files a pipeline loads is diffusers' own knowledge, and it fetches them: safetensors and
configuration, no pickles. The numbers told meanwhile come from the hub's list and the cache.
"""

import json
import logging
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from providers.diffusers_modal.wire import PipelineSpec

__all__ = ["fetch", "is_here", "is_hub_id", "wanted"]

_logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_INDEX = "model_index.json"
_CONFIGURATION = (".json", ".txt", ".model", ".jinja")
_TAG = re.compile(r"(?:\.(?P<tag>\w+))?(?:-\d+-of-\d+)?(?:\.(?P<late_tag>\w+))?\.safetensors")


def is_hub_id(source: str) -> bool:
    """Whether a source is a model of the hub: neither embedded nor a folder."""
    return _HUB_ID.fullmatch(source) is not None and not Path(source).is_dir()


def is_here(source: str) -> bool:
    """Whether the cache has a model's index, the file that comes first."""
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(source, _INDEX), str)
    except ValueError:
        # No id that the hub would give.
        return False


def wanted(sizes: Mapping[str, int], components: Collection[str], variant: str | None) -> dict[str, int]:
    """Of a repository's files and bytes: those that loading a pipeline reads.

    Args:
        sizes: bytes by path.
        components: the folders that `model_index.json` names.
        variant: of the weights; a folder that has no file of it gives the plain ones.
    """
    chosen = {_INDEX: sizes[_INDEX]} if _INDEX in sizes else {}
    for component in components:
        files = {path: size for path, size in sizes.items() if path.startswith(f"{component}/")}
        weights = {path: _tag(path) for path in files if path.endswith(".safetensors")}
        tag = variant if variant in weights.values() else None
        for path, size in files.items():
            if weights[path] == tag if path in weights else path.endswith(_CONFIGURATION):
                chosen[path] = size
    return chosen


def _tag(path: str) -> str | None:
    name = path.rsplit("/", 1)[1]
    # `diffusion_pytorch_model.fp16-00001-of-00002.safetensors`, and the older order of the two.
    found = _TAG.fullmatch(name[len(name.split(".", 1)[0].split("-", 1)[0]) :])
    return None if found is None else found["tag"] or found["late_tag"]


def fetch(spec: PipelineSpec, *, every_s: float = 1.0) -> Iterator[dict[str, Any]]:
    """Have the weights of a pipeline in the cache; what is there downloads nothing.

    Yields:
        `{"done_bytes", "total_bytes", "file", "end", "error"}` every `every_s` seconds and at the
        end: the bytes of this download, the last file that came, whether this is the last
        word, and the reason for people when it failed, else an empty text.
    """
    if not is_hub_id(spec.source):
        yield _step(end=True)
        return
    download = _Download(spec)
    thread = threading.Thread(target=download.run, name="download", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(every_s)
        if thread.is_alive():
            yield download.step()
    yield download.step(end=True)


def _step(
    done: int = 0, total: int = 0, file: str = "", error: str = "", *, end: bool = False
) -> dict[str, Any]:
    return {"done_bytes": done, "total_bytes": total, "file": file, "end": end, "error": error}


class _Download:
    """One download: `run` in a thread, `step` from another."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._names: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._came: dict[str, int] = {}
        self._blobs: Path | None = None
        self._error = ""

    def run(self) -> None:
        """Download; an error becomes text."""
        try:
            self._look()
            self._download()
        except Exception as error:
            _logger.exception("%s was not fetched", self._spec.source)
            reason = str(error).strip().split("\n")[0][:300]
            self._error = f"{self._spec.source} was not fetched: {reason or type(error).__name__}"

    def _look(self) -> None:
        """What there is to download."""
        from huggingface_hub import HfApi, constants, hf_hub_download
        from huggingface_hub.file_download import repo_folder_name
        from huggingface_hub.hf_api import RepoFile

        source = self._spec.source
        folder = repo_folder_name(repo_id=source, repo_type="model")
        blobs = Path(constants.HF_HUB_CACHE) / folder / "blobs"
        before = {path.name for path in _files(blobs)}
        index = json.loads(Path(hf_hub_download(source, _INDEX)).read_text())
        tree = [item for item in HfApi().list_repo_tree(source, recursive=True) if isinstance(item, RepoFile)]
        chosen = wanted({item.path: item.size for item in tree}, index.keys(), self._spec.variant)
        for item in tree:
            name = item.lfs.sha256 if item.lfs is not None else item.blob_id
            if item.path in chosen and name not in before:
                self._names[name] = item.path
                self._sizes[name] = item.size
        self._blobs = blobs

    def _download(self) -> None:
        import diffusers

        diffusers.DiffusionPipeline.download(
            self._spec.source, variant=self._spec.variant, use_safetensors=True
        )

    def step(self, *, end: bool = False) -> dict[str, Any]:
        """Where it is."""
        latest, file = 0.0, ""
        for path in _files(self._blobs):
            # While it comes, a file is called `<name>.<something>.incomplete`.
            name = path.name.split(".")[0]
            if name not in self._names:
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                # It is whole since the folder was listed, and has its own name now: the next look
                # finds it there.
                continue
            self._came[name] = min(status.st_size, self._sizes[name])
            if status.st_mtime > latest:
                latest, file = status.st_mtime, self._names[name]
        return _step(sum(self._came.values()), sum(self._sizes.values()), file, self._error, end=end)


def _files(folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_file()]
