"""The mail of a job's end, as a real SMTP server receives it: its pictures open, its links expire."""

import asyncio
import email
import io
import re
from email.message import EmailMessage
from email.policy import default

import pytest
from PIL import Image
from support.gateway_process import free_port

from gateway.delivery import outbox
from gateway.delivery.events import event_id
from gateway.delivery.outbox import HELD_MS
from gateway.jobs.records import Delivery
from gateway.mail.smtp_url import read_smtp_url
from gateway.mail.transport import FileTransport, SmtpTransport
from gateway.problems import Problem
from gateway.storage import StorageError

ADDRESS = "ann@example.org"
MAILED = Delivery(email=True)
LINK = re.compile(r"https://images\.example\.org/images/(\w+)\?expires=(\d+)&signature=([\w-]+)")


def texts(mail: EmailMessage) -> tuple[str, str]:
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    return plain.get_content(), html.get_content()


def pictures(mail: EmailMessage) -> dict[str, EmailMessage]:
    """The pictures in a mail, by what its HTML calls them."""
    return {
        str(part["Content-ID"]).strip("<>"): part
        for part in mail.walk()
        if part.get_content_maintype() == "image"
    }


async def test_its_picture_opens_and_is_the_stored_one(world, picture) -> None:
    data = picture(64, 48)
    job_id = await world.ended(MAILED, pictures=(data,), prompt="a <b>cat</b> & co")
    assert await world.mailer().deliver() == 1
    (mail,) = world.mailbox.mails
    assert (mail["To"], mail["From"]) == (ADDRESS, "Images <images@example.org>")
    assert mail["Subject"] == "Your picture is ready"
    assert mail["Message-ID"] == f"<{event_id(job_id, 'email')}@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, html = texts(mail)
    ((cid, part),) = pictures(mail).items()
    assert f'src="cid:{cid}"' in html
    assert part.get_content_disposition() == "inline"
    assert part.get_content() == data
    assert Image.open(io.BytesIO(part.get_content())).size == (64, 48)
    assert "a &lt;b&gt;cat&lt;/b&gt; &amp; co" in html
    assert '"a <b>cat</b> & co"' in plain
    for text in (plain, html):
        assert "0.03 USD" in text
        assert job_id in text
    structure = [part.get_content_type() for part in mail.walk()]
    assert structure == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    assert (await world.row()).state == "sent"


async def test_its_links_work_for_a_week(world) -> None:
    await world.ended(MAILED)
    await world.mailer().deliver()
    plain, html = texts(world.mailbox.mails[0])
    found = LINK.search(plain)
    assert found is not None
    assert found[0] in html.replace("&amp;", "&")
    image_id, expires, signature = found.groups()
    world.ahead_ms += 7 * 86_400_000 - 2000
    world.links.check(image_id, expires, signature)
    world.ahead_ms += 2000
    with pytest.raises(Problem, match="run out"):
        world.links.check(image_id, expires, signature)


async def test_several_pictures(world, picture) -> None:
    data = [picture(40 + n, 30) for n in range(3)]
    await world.ended(MAILED, pictures=tuple(data))
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert mail["Subject"] == "Your 3 pictures are ready"
    assert [part.get_content() for part in pictures(mail).values()] == data
    plain, html = texts(mail)
    assert len(set(LINK.findall(plain))) == 3
    assert html.count('src="cid:') == 3


async def test_what_does_not_fit_is_a_link(world, picture) -> None:
    small, large = picture(40, 30), picture(200, 200)
    world.inline_bytes = len(large) - 1 + len(small)
    await world.ended(MAILED, pictures=(small, large, small))
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert [part.get_content() for part in pictures(mail).values()] == [small, small]
    plain, html = texts(mail)
    assert len(set(LINK.findall(plain))) == 3
    assert "Open the picture" in html


async def test_an_svg_is_never_in_the_mail(world) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"/>'
    await world.ended(MAILED, pictures=(svg,))
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert pictures(mail) == {}
    assert "SVG" in texts(mail)[0]
    assert LINK.search(texts(mail)[0])


async def test_a_mail_that_the_server_finds_too_large_goes_without_pictures(world, picture) -> None:
    """A real server with a limit: 552."""
    await world.ended(MAILED, pictures=(picture(400, 300),))
    world.mailbox.most_bytes = 50_000
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert pictures(mail) == {}
    assert LINK.search(texts(mail)[0])
    assert (await world.row()).state == "sent"


async def test_a_job_that_failed(world) -> None:
    job_id = await world.ended(MAILED, "failed", prompt="a cat")
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert mail["Subject"] == "Your picture could not be made"
    plain, html = texts(mail)
    assert "It &lt;broke&gt;." in html
    assert "It <broke>." in plain
    for text in (plain, html):
        assert "Nothing was charged" in text
        assert "provider_failed" in text
        assert job_id in text


async def test_a_job_that_was_canceled(world) -> None:
    await world.ended(MAILED, "canceled")
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert mail["Subject"] == "Your job was canceled"
    assert "It was canceled." in texts(mail)[0]


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("übergroße Katze 🐈", "übergroße Katze 🐈"),
        ("two\nlines\tand\r\nBcc: x@y.org", "two lines and Bcc: x@y.org"),
        ("right\u202eto left\x07", "rightto left"),
        ("x" * 500, "x" * 199 + "…"),
        ("{{ 7 * 7 }}{% raw %}", "{{ 7 * 7 }}{% raw %}"),
    ],
)
async def test_whatever_was_asked_for_is_only_text(world, prompt, shown) -> None:
    await world.ended(MAILED, prompt=prompt)
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert f'"{shown}"' in texts(mail)[0]
    assert mail["Bcc"] is None
    assert (await world.row()).state == "sent"


async def test_no_byte_that_a_server_might_not_take(world, tmp_path) -> None:
    folder = tmp_path / "mail"
    await world.ended(MAILED, prompt="größer 🐈")
    await world.mailer(FileTransport(folder)).deliver()
    (path,) = folder.iterdir()
    assert path.read_bytes().isascii()
    assert max(len(line) for line in path.read_bytes().splitlines()) <= 998
    mail = email.message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(mail, EmailMessage)
    assert "größer 🐈" in texts(mail)[0]
    assert len(pictures(mail)) == 1


async def test_a_store_that_is_away_is_asked_again_later(world) -> None:
    await world.ended(MAILED)
    store = world.images
    world.images = Away()
    await world.mailer().deliver()
    row = await world.row()
    assert (row.state, row.tries) == ("open", 1)
    assert "the store is away" in row.error
    world.images, world.ahead_ms = store, 10_000
    await world.mailer().deliver()
    assert len(pictures(world.mailbox.mails[0])) == 1


class Away:
    """A store that nobody reaches."""

    async def get(self, key: str) -> bytes:
        raise StorageError("the store is away")


async def test_a_picture_that_is_gone_from_the_store_is_a_link(world, tmp_path) -> None:
    await world.ended(MAILED)
    for path in (tmp_path / "store" / "images").iterdir():
        path.unlink()
    await world.mailer().deliver()
    (mail,) = world.mailbox.mails
    assert pictures(mail) == {}
    assert LINK.search(texts(mail)[0])


@pytest.mark.parametrize(
    ("answer", "state"),
    [("451 greylisted", "open"), ("550 no such mailbox", "failed"), ("552 full", "failed")],
)
async def test_what_the_server_says(world, answer, state) -> None:
    world.mailbox.refuse = answer
    await world.ended(MAILED)
    await world.mailer().deliver()
    row = await world.row()
    assert (row.state, row.tries) == (state, 1)
    assert answer[:3] in row.error


async def test_a_server_that_is_away_costs_the_job_nothing(world) -> None:
    away = SmtpTransport(read_smtp_url(f"smtp://127.0.0.1:{free_port()}"))
    await world.ended(MAILED)
    await world.mailer(away).deliver()
    assert (await world.row()).state == "open"
    world.ahead_ms += 5000
    await world.mailer().deliver()
    assert (await world.row()).state == "sent"


async def test_one_that_died_after_the_server_took_it(world) -> None:
    """At least once, and the second has the same Message-ID: mail programs show one."""
    await world.ended(MAILED)
    (item,) = await world.db.read(lambda c: outbox.due(c, "email", world.now))
    assert await world.db.write(lambda c: outbox.claim(c, item, world.now))
    await world.mails().deliver(item)  # and here the process is killed
    world.ahead_ms += HELD_MS
    assert await world.mailer().deliver() == 1
    first, second = world.mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]


async def test_mails_and_calls_do_not_wait_for_each_other(world) -> None:
    """Each kind has its own worker: what one has is nothing to the other."""
    hook = await world.endpoint()
    await world.ended(Delivery(email=True, webhook=hook))
    assert await asyncio.gather(world.mailer().deliver(), world.caller().deliver()) == [1, 1]
    assert {row.state for row in await world.rows()} == {"sent"}
