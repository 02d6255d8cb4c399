"""A real core on a real database; its providers answer by script. Its fixtures are for a conftest to import."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from support.people import premium
from support.scripted_provider import SCRIPTED_TYPES, SCRIPTS, Script, script_of
from support.small_registry import small_catalog

from billing import ledger
from gateway import books
from gateway.accounts import rows
from gateway.accounts.principals import OPERATOR
from gateway.ambient import Ambient
from gateway.core import Core
from gateway.db.engine import Database, open_database
from gateway.jobs.keeper import adopt_all
from gateway.jobs.outputs import Collector
from gateway.jobs.records import JobRow
from gateway.jobs.runner import Runner
from gateway.jobs.tools import Tools
from gateway.parts import Parts
from gateway.schemas import GenerateRequest
from gateway.settings import Settings, load_settings
from gateway.storage import open_store
from providers.discovery import Providers
from templates.library import TemplateLibrary

OURS = ["gateway", "providers", "registry", "billing"]


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call of ours in the event loop fails the test."""
    with blockbuster_ctx(scanned_modules=OURS) as blockbuster:
        yield blockbuster


class Clock:
    """Time that a test can push forward."""

    def __init__(self) -> None:
        self._real = Ambient()
        self.ahead_s = 0.0
        self._numbers = itertools.count()

    def ambient(self) -> Ambient:
        return Ambient(
            now_ms=lambda: self._real.now_ms() + int(self.ahead_s * 1000),
            monotonic=lambda: self._real.monotonic() + self.ahead_s,
            unique=lambda: f"{next(self._numbers):032x}",
            seed=lambda: 11,
        )


class World:
    """A core, what its providers are told to do, and the questions that tests ask of both."""

    def __init__(self, core: Core, clock: Clock, client: httpx.AsyncClient) -> None:
        self.core = core
        self.clock = clock
        self.client = client
        self.new_process()

    @property
    def db(self) -> Database:
        return self.core.db

    def script(self, name: str = "first") -> Script:
        return script_of(str(self.core.settings.data_dir), name)

    def new_process(self, **limits: Any) -> None:
        """A runner that knows nothing of jobs that ran before; with limits of its own."""
        collector = Collector(self.core.images, self.client, pauses_s=(0.0,))
        self.core.runner = Runner(
            Tools(
                db=self.core.db,
                providers=self.core.providers,
                collector=collector,
                ambient=self.core.ambient,
                resend_pauses_s=(0.0, 0.0),
                store_pauses_s=(0.01,),
                outliers=self.core.outliers,
                media=self.core.media,
                templates=lambda: self.core.templates,
                ended=lambda: self.core.keeper.note_room(),
                metrics=self.core.metrics,
            ),
            **limits,
        )

    async def restart(self) -> None:
        """Stop driving in the middle of things, and start again from what is stored."""
        await self.core.runner.aclose(0)
        self.new_process()

    async def resume(self) -> int:
        """Go on with what former processes left."""
        return await adopt_all(self.db, self.core.runner)

    async def submit(self, model: str = "solo", **inputs: object) -> str:
        return await self.core.admission.submit(
            GenerateRequest(model=model, inputs={"prompt": "a cat", **inputs}), premium()
        )

    async def ended(self, job_id: str) -> JobRow:
        """The job when this process is done with it; the books are right then."""
        await self.core.runner.wait(job_id, 20)
        assert self.core.runner.live(job_id) is None
        assert await self.db.read(lambda c: books.verify(c, self.core.ambient.now_ms())) == []
        return await self.core.job(job_id, OPERATOR)

    async def run(self, model: str = "solo", **inputs: object) -> JobRow:
        return await self.ended(await self.submit(model, **inputs))

    async def money(self) -> tuple[int, int]:
        """Micro-dollars spent and held by the operator."""
        found = await self.db.read(lambda c: ledger.balance(c, OPERATOR))
        return -found.available_micros - found.held_micros, found.held_micros


@asynccontextmanager
async def world_of(settings: Settings) -> AsyncIterator[World]:
    """A core of these settings, and the scripts of its data folder."""
    clock, folder = Clock(), str(settings.data_dir)
    images = await asyncio.to_thread(open_store, settings.storage_url, settings.env)
    catalog = small_catalog()
    providers = Providers(catalog.data.providers, {}, folder, SCRIPTED_TYPES)
    parts = Parts(
        catalog=catalog,
        templates=TemplateLibrary({}),
        providers=providers,
        images=images,
        secrets=(b"x" * 32,),
    )
    core = Core(
        settings=settings, parts=parts, db=open_database(settings.database_url), ambient=clock.ambient()
    )
    await core.db.write(lambda c: rows.ensure_account(c, account_id=OPERATOR, name="op", postpaid=True, at=1))
    async with httpx.AsyncClient(trust_env=False) as client:
        yield World(core, clock, client)
        await core.runner.aclose(0)
        await core.aclose()
    for key in [key for key in SCRIPTS if key[0] == folder]:
        del SCRIPTS[key]


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    settings = load_settings(
        {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_DATABASE_URL": database_url, "GATEWAY_SECRET": "x" * 32}
    )
    async with world_of(settings) as made:
        yield made
