"""The Modal app: one class a GPU tier, and a function that fetches weights.

    modal deploy -m providers.diffusers_modal.app

The tiers' settings are read where it is deployed: see `deployment.tier_settings`. A container
imports this folder alone; what a job is and does is in `container.py` and `engine.py`.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import modal
import msgspec

from providers.diffusers_modal import fetch as fetching
from providers.diffusers_modal.board import Board
from providers.diffusers_modal.container import Worker
from providers.diffusers_modal.deployment import (
    APP_NAME,
    FETCH_NAME,
    PROGRESS_NAME,
    VOLUME_NAME,
    VOLUME_PATH,
    tier_settings,
)
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.levers import read_levers
from providers.diffusers_modal.wire import PipelineSpec

__all__ = ["PINS", "PYTHON", "DiffusersBackend_A10G", "DiffusersBackend_L40S", "app", "fetch"]

_logger = logging.getLogger(__name__)

PYTHON = "3.11"
PINS = (
    "accelerate==1.15.0",
    "diffusers==0.42.1",
    "hf-xet==1.8.0",
    "huggingface_hub==2.4.0",
    "msgspec==0.22.0",
    "numpy==2.4.6",
    "peft==0.21.2",
    "pillow==13.0.0",
    "safetensors==0.8.0",
    "tokenizers==0.23.3",
    "torch==2.13.0",
    "transformers==5.23.0",
)
"""Everything that the image is made of. The gateway's tests run with the same versions."""

_FETCH_TIMEOUT_S = 2 * 3600
_START_TIMEOUT_S = 600

# Of this folder a container gets all but what talks to it.
_GATEWAY_SIDE = {
    "address",
    "gather",
    "job",
    "local",
    "modal_client",
    "modal_errors",
    "process",
    "provider",
    "remote",
    "server",
    "supervisor",
    "usage",
}


def _not_for_containers(path: Path) -> bool:
    """Whether a file of the package `providers` stays here. Modal gives paths within the package."""
    if path.parts[:2] == ("diffusers_modal", "embedded"):
        # The embedded model's weights go along (17 MB, sent once); what trains it stays here.
        return path.name != "__init__.py" and "weights" not in path.parts
    if path.suffix != ".py":
        return True
    if path.parts[0] != "diffusers_modal":
        return path.parts != ("__init__.py",)
    return path.stem in _GATEWAY_SIDE


volume = modal.Volume.from_name(VOLUME_NAME, create_if_missing=True)
progress = modal.Dict.from_name(PROGRESS_NAME, create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version=PYTHON)
    .pip_install(*PINS)
    .add_local_python_source("providers", ignore=_not_for_containers)
)
app = modal.App(APP_NAME, image=image, include_source=False)


class _Volume:
    """The weights on the volume `diffusers-models`, as `container.Models`."""

    def find(self, source: str) -> bool:
        """Whether the volume has a model; one fetched since this container began is looked for."""
        if not fetching.is_hub_id(source) or fetching.is_here(source):
            return True
        try:
            volume.reload()
        except RuntimeError as error:
            # The model in memory may keep its files open; the hub has the new one too.
            _logger.warning("the volume could not be read anew: %s", error)
        return fetching.is_here(source)

    def keep(self) -> None:
        """Keep what was downloaded."""
        volume.commit()


class _Backend:
    """What both tiers do. Modal allows no `__init__` in a class or its bases."""

    tier: ClassVar[str]
    _worker: Worker

    @modal.enter()
    def start(self) -> None:
        """Have torch and diffusers imported before the first job is taken."""
        logging.basicConfig(level=logging.INFO)
        # HOME is where the volume is; what is built there must not fill it.
        levers = read_levers(os.environ.get("DIFFUSERS_LEVERS", ""))
        engine = Engine(levers=levers)
        limit_s = tier_settings(os.environ, self.tier).timeout_s
        self._worker = Worker(engine, Board(progress), limit_s=limit_s, models=_Volume())
        self._worker.warm()

    @modal.method()
    def generate(self, job: bytes) -> bytes:
        """The msgpack of an `EngineJob`; returns that of a `Done` or an `ErrorRecord`."""
        return self._worker.run(job)

    @modal.method()
    def generate_many(self, jobs: list[bytes]) -> list[bytes]:
        """As `generate`; jobs that can share calls of the pipeline do."""
        return self._worker.run_many(jobs)

    @modal.exit()
    def stop(self) -> None:
        """Tell what is left to tell."""
        self._worker.close()


def _options(tier: str) -> dict[str, Any]:
    settings = tier_settings(os.environ, tier)
    return {
        "gpu": settings.gpu,
        "volumes": {VOLUME_PATH: volume},
        "max_containers": settings.max_containers,
        "scaledown_window": settings.scaledown_s,
        "timeout": settings.timeout_s,
        # By itself it would be the job's time, which may be set to less than torch needs to start.
        "startup_timeout": _START_TIMEOUT_S,
        # Read again in the container, to end a job before Modal ends it.
        "env": {f"DIFFUSERS_{tier}_TIMEOUT": str(settings.timeout_s)} | _levers() | _hub(),
    }


def _levers() -> dict[str, str]:
    """What is asked for where it is deployed, for the containers; a name that is none stops the deploy."""
    levers = read_levers(os.environ.get("DIFFUSERS_LEVERS", ""))
    return {"DIFFUSERS_LEVERS": ",".join(levers)} if levers else {}


def _hub() -> dict[str, str]:
    """The hub's token of where it is deployed, for models that are not open to all."""
    token = os.environ.get("HF_TOKEN", "").strip()
    return {"HF_TOKEN": token} if token else {}


@app.cls(**_options("A10G"))
class DiffusersBackend_A10G(_Backend):  # noqa: N801 - the name under which it is deployed
    """24 GB of GPU memory."""

    tier = "A10G"


@app.cls(**_options("L40S"))
class DiffusersBackend_L40S(_Backend):  # noqa: N801 - the name under which it is deployed
    """48 GB of GPU memory."""

    tier = "L40S"


# Without a GPU: a download must neither cost one nor keep jobs waiting.
@app.function(
    name=FETCH_NAME,
    volumes={VOLUME_PATH: volume},
    timeout=_FETCH_TIMEOUT_S,
    env={"HF_XET_HIGH_PERFORMANCE": "1", **_hub()},
)
def fetch(spec: bytes) -> Iterator[dict[str, Any]]:
    """Download the weights of a `PipelineSpec` (msgpack) to the volume; see `fetch.fetch`."""
    fetched = False
    for step in fetching.fetch(msgspec.msgpack.decode(spec, type=PipelineSpec)):
        fetched = fetched or step["done_bytes"] > 0
        if step["end"] and fetched:
            volume.commit()
        yield step
