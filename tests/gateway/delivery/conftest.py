"""A real outbox on a real database, real receivers, and a clock that a test turns."""

import asyncio
import io
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from PIL import Image
from sqlalchemy import Connection
from support.hook_server import HookServer
from support.mailbox import Mailbox
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import small_catalog

from gateway.accounts import logins, rows
from gateway.accounts.logins import LoginRow
from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database
from gateway.delivery import endpoints, outbox
from gateway.delivery.calls import Calls
from gateway.delivery.mails import Mails
from gateway.delivery.outbox import Row
from gateway.delivery.poster import Poster
from gateway.delivery.results import INLINE_BYTES, ResultMails
from gateway.delivery.retries import MAIL, WEBHOOK
from gateway.delivery.signing import WebhookSigner
from gateway.delivery.slots import Limits
from gateway.delivery.worker import Worker
from gateway.jobs import admit, store
from gateway.jobs.records import Admitted, Delivery, NewAttempt, NewImage
from gateway.links import Links
from gateway.mail.letters import Letters
from gateway.mail.smtp_url import read_smtp_url
from gateway.mail.transport import SmtpTransport, Transport
from gateway.media.guarded import Guarded
from gateway.planning import make_plan
from gateway.schemas import GenerateRequest, RoutingView
from gateway.secret import Signer
from gateway.storage import ImageStore, open_store
from gateway.views import job_view
from providers.discovery import Providers
from providers.errors import JobCanceled, ProviderFailed

ANN, ANNS = "acc_ann", "ann@example.org"
SECRETS = (b"1" * 32,)
URL = "https://images.example.org"
CATALOG = small_catalog()


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call of ours in the event loop fails the test."""
    with blockbuster_ctx(scanned_modules=["gateway"]) as blockbuster:
        yield blockbuster


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


class World:
    """The outbox and what it takes; its clock stands still until a test moves it."""

    def __init__(self, db: Database, images: ImageStore, hooks: HookServer, mailbox: Mailbox) -> None:
        self.db, self.images, self.hooks, self.mailbox = db, images, hooks, mailbox
        numbers = itertools.count()
        self.ahead_ms = 0
        self.began = Ambient().now_ms()
        self.ambient = Ambient(
            now_ms=lambda: self.now, unique=lambda: f"{next(numbers):032x}", seed=lambda: 1 << 31
        )
        self.links = Links(Signer(SECRETS, "image"), URL, self.ambient, 3600)
        self.signer = WebhookSigner(Signer(SECRETS, "webhook-endpoint"))
        self.numbers = itertools.count(1)
        self.inline_bytes = INLINE_BYTES

    @property
    def now(self) -> int:
        return self.began + self.ahead_ms

    def calls(self, timeout_s: float = 20.0, **guard: object) -> Calls:
        guarded = Guarded(**({"allow": {("127.0.0.1", self.hooks.port)}} | guard))
        poster = Poster(guarded, timeout_s)
        return Calls(
            self.db, self.ambient, poster, self.signer, lambda job: job_view(job, None, self.links.image)
        )

    def caller(self, limits: Limits | None = None, *, timeout_s: float = 20.0, **guard: object) -> Worker:
        """A process that calls webhooks."""
        limits = limits or Limits(at_once=8, an_account=8, a_host=8)
        calls = self.calls(timeout_s, **guard)
        return Worker(self.db, self.ambient, "webhook", calls.deliver, WEBHOOK, limits)

    def mails(self, transport: Transport | None = None) -> Mails:
        letters = Letters({}, URL, "Images <images@example.org>")
        results = ResultMails(self.db, self.images, self.links, letters, self.inline_bytes)
        return Mails(letters, results, transport or SmtpTransport(read_smtp_url(self.mailbox.url)))

    def mailer(self, transport: Transport | None = None) -> Worker:
        """A process that sends mail."""
        limits = Limits(at_once=4, an_account=4, a_host=4)
        return Worker(self.db, self.ambient, "email", self.mails(transport).deliver, MAIL, limits)

    async def endpoint(self, path: str = "/hook", account: str = ANN, url: str | None = None) -> str:
        """An endpoint's id."""
        new_id = self.ambient.new_id("whk")
        where = url or self.hooks.url(path)
        row, _ = await self.db.write(lambda c: endpoints.ensure(c, account, where, new_id, self.now))
        return row.id

    async def admitted(
        self, delivery: Delivery | None, account: str = ANN, prompt: str = "a cat"
    ) -> admit.NewJob:
        """A job that was let in."""
        plan = make_plan(
            CATALOG,
            Providers(CATALOG.data.providers, {}, "", SCRIPTED_TYPES),
            GenerateRequest(model="solo", inputs={"prompt": prompt}),
            fresh_seed=3,
        )
        number = next(self.numbers)
        new = admit.NewJob(
            id=f"job_{number}",
            account_id=account,
            end_user="u1",
            model="solo",
            registry_version="abc",
            admitted=Admitted(inputs={"prompt": prompt}, options={}, candidates=plan.candidates),
            report=(),
            warnings=(),
            routing=RoutingView(rule="model", why="named", requested="solo", passed_over=()),
            quote_micros=30_000,
            ceiling_micros=30_000,
            deadline_at=self.now + 60_000,
            attempt=NewAttempt(
                id=f"att_{number}", number=1, candidate=0, call=0, provider="first", endpoint="first/make"
            ),
            delivery=delivery,
        )
        await self.db.write(lambda c: admit.admit(c, new, self.now))
        return new

    async def ended(
        self,
        delivery: Delivery | None,
        status: str = "completed",
        pictures: tuple[bytes, ...] | None = None,
        **more: str,
    ) -> str:
        """The id of a job that ended so."""
        new = await self.admitted(delivery, **more)
        if status != "completed":
            error = (
                ProviderFailed("It <broke>.", provider="first")
                if status == "failed"
                else JobCanceled("It was canceled.")
            )
            lost = [(new.attempt.id, error)]
            await self.db.write(lambda c: store.end_without_images(c, new.id, lost, error, self.now))
            return new.id
        images = []
        for position, data in enumerate(pictures if pictures is not None else (png(),)):
            kind = "svg+xml" if data.startswith(b"<svg") else "png"
            row = NewImage(
                id=f"img_{new.id}_{position}",
                position=position,
                storage_key=f"images/img_{new.id}_{position}.png",
                content_type=f"image/{kind}",
                width=64,
                height=48,
                byte_size=len(data),
                sha256="0" * 64,
                seed=1,
            )
            await self.images.put(row.storage_key, data, row.content_type)
            images.append(row)
        share = store.Share(
            attempt_id=new.attempt.id,
            images=tuple(images),
            run_seconds=1.0,
            load_seconds=None,
            provider_cost_micros=7,
        )
        await self.db.write(lambda c: store.complete(c, new.id, [share], 30_000, self.now))
        return new.id

    async def rows(self) -> list[Row]:
        """The outbox, oldest first."""
        found = await self.db.read(lambda c: outbox.list_rows(c, None, limit=1000))
        return found[::-1]

    async def row(self) -> Row:
        """The only row of it."""
        (row,) = await self.rows()
        return row


def png(width: int = 64, height: int = 48, noise: int = 60) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), noise).convert("RGB").save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return png


def people(conn: Connection) -> None:
    """Ann, who has an address, and Bob, who has none."""
    for account in (ANN, "acc_bob"):
        rows.ensure_account(conn, account_id=account, name=account, postpaid=True, at=1)
    logins.insert_login(
        conn, LoginRow(account_id=ANN, email=ANNS, password_hash="x", created_at=1, password_changed_at=1)
    )


@pytest.fixture
async def world(
    tmp_path: Path, hooks: HookServer, mailbox: Mailbox, database_url: str
) -> AsyncIterator[World]:
    images = await asyncio.to_thread(open_store, (tmp_path / "store").as_uri())
    db = open_database(database_url)
    await db.write(people)
    yield World(db, images, hooks, mailbox)
    await db.aclose()
