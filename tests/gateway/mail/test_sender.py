"""The gateway's own letters are delivered at least once, by a real SMTP server or as files."""

import asyncio
import email
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from email.policy import default

import pytest
from support.databases import everything_in
from support.gateway_process import free_port
from support.mailbox import Mailbox, link_of

from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database
from gateway.db.tables import outbox as table
from gateway.delivery import outbox
from gateway.delivery.mails import Mails
from gateway.delivery.results import ResultMails
from gateway.delivery.retries import MAIL
from gateway.delivery.slots import Limits
from gateway.delivery.worker import Worker
from gateway.links import Links
from gateway.mail.letters import Letter, Letters, Link
from gateway.mail.put import put_letter
from gateway.mail.smtp_url import read_smtp_url
from gateway.mail.transport import FileTransport, SmtpTransport, Transport
from gateway.secret import Signer
from gateway.storage import open_store

ANN = "ann@example.org"
SIGNERS = {purpose: Signer((b"1" * 32,), purpose) for purpose in ("verify", "reset")}
LETTERS = Letters(SIGNERS, "https://images.example.org", "Images <images@example.org>")
pytestmark = pytest.mark.every_database

VERIFY = Letter(name="verify", link=Link(purpose="verify", id="sgn_1", hours=24))


class Clock:
    now = 1_795_000_000_000


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def sender(db: Database, clock: Clock, mailbox: Mailbox):
    def make(transport: Transport | None = None) -> Worker:
        ambient = Ambient(now_ms=lambda: clock.now)
        links = Links(Signer((b"1" * 32,), "image"), "https://images.example.org", ambient, 60)
        results = ResultMails(db, open_store("memory://"), links, LETTERS)
        mails = Mails(LETTERS, results, transport or SmtpTransport(read_smtp_url(mailbox.url)))
        limits = Limits(at_once=4, an_account=2, a_host=4)
        return Worker(db, ambient, "email", mails.deliver, MAIL, limits)

    return make


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def put(db: Database, clock: Clock, letter: Letter = VERIFY, id_: str = "out_1") -> None:
    await db.write(lambda c: put_letter(c, id_, ANN, letter, clock.now))


async def row(db: Database) -> dict[str, object]:
    return await db.read(lambda c: dict(c.execute(table.select()).mappings().one()))


async def test_a_letter_comes_as_text_and_html(db, clock, sender, mailbox) -> None:
    await put(db, clock)
    assert await sender().deliver() == 1
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"]) == (ANN, "Images <images@example.org>")
    assert mail["Subject"] == "Confirm your address"
    assert mail["Message-ID"] == "<out_1@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    page, _, token = link_of(mail).partition("#")
    assert page == "https://images.example.org/auth/verify"
    assert SIGNERS["verify"].verify("sgn_1", token.partition(".")[2])
    assert await sender().deliver() == 0
    assert (await row(db))["sent_at"] == clock.now


@pytest.mark.parametrize("name", ["verify", "welcome", "known", "reset", "changed"])
async def test_every_letter_can_be_written(name) -> None:
    link = Link(purpose=name, id="x", hours=1) if name in ("verify", "reset") else None
    mail = LETTERS.write(Letter(name=name, link=link), "<b>@example.org", "out_1", 1)
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "images.example.org" in text
    assert "{{" not in text + html
    assert "&lt;b&gt;@example.org" in html
    assert len(text.splitlines()) >= 3


async def test_no_link_can_be_read_in_the_database(db, clock, tmp_path) -> None:
    await put(db, clock)
    token = LETTERS.token(VERIFY.link)
    kept = await everything_in(db, tmp_path)
    assert VERIFY.link.id.encode() in kept
    assert token.partition(".")[2].encode() not in kept


async def test_a_server_that_is_away_is_asked_again_later(db, clock, sender, mailbox) -> None:
    away = SmtpTransport(read_smtp_url(f"smtp://127.0.0.1:{free_port()}"))
    await put(db, clock)
    for tries, pause in enumerate(MAIL.pauses_s, start=1):
        assert await sender(away).deliver() == 1
        found = await row(db)
        assert (found["tries"], found["due_at"]) == (tries, clock.now + pause * 1000)
        assert "127.0.0.1" in str(found["error"])
        clock.now += pause * 1000 - 1
        assert await sender().deliver() == 0
        clock.now += 1
    assert await sender().deliver() == 1
    assert len(mailbox.mails) == 1


async def test_it_is_given_up_in_the_end(db, clock, sender) -> None:
    away = SmtpTransport(read_smtp_url(f"smtp://127.0.0.1:{free_port()}"))
    await put(db, clock)
    while await sender(away).deliver():
        clock.now += 86_400_000
    found = await row(db)
    assert found["failed_at"] is not None
    assert found["tries"] == len(MAIL.pauses_s) + 1


@pytest.mark.parametrize(("answer", "again"), [("451 later", True), ("554 never", False)])
async def test_what_the_server_says(db, clock, sender, mailbox, answer, again) -> None:
    mailbox.refuse = answer
    await put(db, clock)
    await sender().deliver()
    found = await row(db)
    assert (found["failed_at"] is None) == again
    assert answer[:3] in str(found["error"])
    assert "sgn_1" not in str(found["error"])


async def test_a_server_that_says_nothing(db, clock, sender, monkeypatch) -> None:
    monkeypatch.setattr("gateway.mail.transport.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, and nobody accepts
        port = server.getsockname()[1]
        await put(db, clock)
        await sender(SmtpTransport(read_smtp_url(f"smtp://127.0.0.1:{port}"))).deliver()
    found = await row(db)
    assert (found["failed_at"], found["sent_at"], found["tries"]) == (None, None, 1)
    assert "Timeout" in str(found["error"])


async def test_two_replicas_send_it_once(db, clock, sender, mailbox) -> None:
    for number in range(5):
        await put(db, clock, id_=f"out_{number}")
    await asyncio.gather(*(sender().deliver() for _ in range(4)))
    assert sorted(mail["Message-ID"] for mail in mailbox.mails) == [
        f"<out_{n}@example.org>" for n in range(5)
    ]


async def test_one_that_died_in_the_middle_is_taken_over(db, clock, sender, mailbox) -> None:
    await put(db, clock)
    (delivery,) = await db.read(lambda c: outbox.due(c, "email", clock.now))
    assert await db.write(lambda c: outbox.claim(c, delivery, clock.now))
    assert await sender().deliver() == 0
    clock.now += outbox.HELD_MS
    assert await sender().deliver() == 1
    assert len(mailbox.mails) == 1


async def test_without_a_server_it_is_a_file_that_mail_programs_open(db, clock, sender, tmp_path) -> None:
    folder = tmp_path / "mail"
    await put(db, clock)
    await sender(FileTransport(folder)).deliver()
    (path,) = folder.iterdir()
    assert path.name == "out_1.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    link = link_of(email.message_from_bytes(path.read_bytes(), policy=default))
    assert link.encode() in path.read_bytes()


async def test_a_folder_that_cannot_be_written_is_tried_again(db, clock, sender, tmp_path) -> None:
    (tmp_path / "mail").write_text("a file where the folder should be")
    await put(db, clock)
    await sender(FileTransport(tmp_path / "mail")).deliver()
    found = await row(db)
    assert (found["failed_at"], found["tries"]) == (None, 1)


async def test_it_is_sent_as_soon_as_it_is_there(db, clock, sender, mailbox) -> None:
    running = sender()
    running.start()
    try:
        await put(db, clock)
        running.wake()
        await asyncio.to_thread(mailbox.to, ANN, "Confirm")
    finally:
        await running.aclose()


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "user"),
    [
        ("smtp://mail.example.org", "mail.example.org", 587, False, None),
        ("smtps://mail.example.org", "mail.example.org", 465, True, None),
        ("smtp://ann%40a.org:p%2Fw@mail.example.org:2525", "mail.example.org", 2525, False, "ann@a.org"),
    ],
)
def test_an_address_of_a_server(url, host, port, tls, user) -> None:
    found = read_smtp_url(url)
    assert (found.host, found.port, found.tls, found.user) == (host, port, tls, user)
    assert "p/w" not in repr(found)


@pytest.mark.parametrize("url", ["http://a", "smtp://", "smtp://a/b", "mail.example.org", "smtp://a?x=1"])
def test_what_is_none(url) -> None:
    with pytest.raises(ValueError, match="smtp://user:password@host:587"):
        read_smtp_url(url)
