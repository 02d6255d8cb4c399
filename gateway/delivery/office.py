"""Everything that has to do with telling of jobs' ends, put together from the settings."""

from collections.abc import Callable

from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.delivery.calls import Calls
from gateway.delivery.intake import Intake
from gateway.delivery.mails import Mails
from gateway.delivery.outbox import Kind
from gateway.delivery.poster import Poster
from gateway.delivery.results import ResultMails
from gateway.delivery.retries import MAIL, WEBHOOK, Schedule
from gateway.delivery.service import DeliveryDesk
from gateway.delivery.signing import WebhookSigner
from gateway.delivery.slots import Limits
from gateway.delivery.worker import LOOK_EVERY_S, SHARED_LOOK_S, Attempt, Worker
from gateway.jobs.records import JobRow
from gateway.links import Links
from gateway.mail.letters import Letters
from gateway.mail.transport import FileTransport, SmtpTransport
from gateway.media.guarded import Guarded
from gateway.observe.metrics import Metrics
from gateway.observe.tracing import OFF, Tracing
from gateway.schemas import JobView
from gateway.secret import Signer
from gateway.settings import Settings
from gateway.storage import ImageStore

__all__ = ["LETTER_PURPOSES", "DeliveryOffice"]

LETTER_PURPOSES = ("verify", "reset", "invite")
MAILS_AT_ONCE = Limits(at_once=4, an_account=2, a_host=4)
CALLS_AT_ONCE = Limits(at_once=32, an_account=4, a_host=2)


class DeliveryOffice:
    """The outbox's workers, webhook endpoints, and what requests say of both.

    Args:
        settings: the settings.
        secrets: what links and calls are signed with.
        db: has the outbox.
        ambient: time, ids and chance.
        images: has the pictures.
        links: makes links to them.
        view: a job as its owner sees it.
        metrics: counts deliveries.
        tracing: makes the spans of deliveries.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: tuple[bytes, ...],
        db: Database,
        ambient: Ambient,
        images: ImageStore,
        links: Links,
        view: Callable[[JobRow], JobView],
        metrics: Metrics,
        *,
        tracing: Tracing = OFF,
    ) -> None:
        signers = {purpose: Signer(secrets, purpose) for purpose in LETTER_PURPOSES}
        letters = Letters(signers, settings.public_url, settings.email_from)
        folder = settings.data_dir / "mail"
        transport = SmtpTransport(settings.smtp) if settings.smtp else FileTransport(folder)
        mails = Mails(letters, ResultMails(db, images, links, letters), transport)
        self._poster = Poster(Guarded(settings.fetch_allow, threads=CALLS_AT_ONCE.at_once))
        # Of its own: names that requests bring and nobody answers for must not hold up calls.
        self._checker = Poster(Guarded(settings.fetch_allow))
        signer = WebhookSigner(Signer(secrets, "webhook-endpoint"))
        calls = Calls(db, ambient, self._poster, signer, view)
        look_s = SHARED_LOOK_S if settings.shared_database else LOOK_EVERY_S

        def worker(kind: Kind, attempt: Attempt, schedule: Schedule, limits: Limits) -> Worker:
            return Worker(
                *(db, ambient, kind, attempt, schedule, limits), metrics, look_s=look_s, tracing=tracing
            )

        self._mail = worker("email", mails.deliver, MAIL, MAILS_AT_ONCE)
        self._webhooks = worker("webhook", calls.deliver, WEBHOOK, CALLS_AT_ONCE)
        self.desk = DeliveryDesk(db, ambient, self._checker, signer, calls, self.wake)
        # Who signs up where nobody has to prove an address may give somebody else's.
        verified = settings.signup is None or settings.signup.verified
        self.intake = Intake(db, self._checker, self.desk, verified=verified)

    def start(self) -> None:
        """Begin to deliver."""
        self._mail.start()
        self._webhooks.start()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._mail.wake()
        self._webhooks.wake()

    async def aclose(self) -> None:
        """Stop. What was not sent is sent by the next process."""
        await self._mail.aclose()
        await self._webhooks.aclose()
        self._poster.close()
        self._checker.close()
