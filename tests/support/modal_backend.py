"""The real app, deployed to our own Modal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.modal_control_plane import ControlPlane

from providers.diffusers_modal.remote import ModalBackend
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, Reply

ROOT = Path(__file__).parents[2]
A10G = "DiffusersBackend_A10G"
L40S = "DiffusersBackend_L40S"


@contextmanager
def deployed(folder: Path, container_env: dict[str, str] | None = None) -> Iterator[ControlPlane]:
    """A control plane that has the app."""
    with ControlPlane(folder, container_env) as plane:
        done = deploy(plane)
        assert done.returncode == 0, done.stderr
        yield plane


def deploy(plane: ControlPlane, **env: str) -> "subprocess.CompletedProcess[str]":
    """The documented command, with more environment."""
    return subprocess.run(
        [sys.executable, "-m", "modal", "deploy", "-m", "providers.diffusers_modal.app"],
        env=os.environ | plane.env | env,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )


async def until_ended(
    backend: ModalBackend, call_id: str, job_id: str, tier: str = "A10G", timeout_s: float = 90.0
) -> tuple[Done | ErrorRecord, list[Reply]]:
    """Poll a call to its end; returns its answer, and every reply before it."""
    replies: list[Reply] = []
    async with asyncio.timeout(timeout_s):
        while not isinstance(reply := await backend.poll(tier, call_id, job_id), Done | ErrorRecord):
            replies.append(reply)
            await asyncio.sleep(0.02)
    return reply, replies


async def run(backend: ModalBackend, job: EngineJob, tier: str = "A10G") -> Done:
    """A job that ends well."""
    answer, _ = await until_ended(backend, await backend.submit(tier, job), job.id, tier)
    assert isinstance(answer, Done), answer
    return answer
