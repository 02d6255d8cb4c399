"""How a request says that its job's end is to be told; what is wrong is told before anything is spent."""

import pytest
from msgspec.structs import replace
from support.people import premium

from gateway.accounts.principals import Principal
from gateway.delivery import endpoints
from gateway.delivery.asked import DeliveryRequest, WebhookTarget
from gateway.delivery.intake import Intake, mailed_by_default
from gateway.delivery.poster import Poster
from gateway.delivery.service import DeliveryDesk
from gateway.jobs.records import Delivery
from gateway.media.guarded import Guarded
from gateway.problems import Problem
from registry.errors import InvalidInputs

ANN, BOB = "acc_ann", "acc_bob"
NORMAL = replace(premium(ANN), tier="normal")
NAMES = {"hooks.test": "93.184.215.14", "inside.test": "10.0.0.5"}


def lookup(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError("no such name")
    return [NAMES[host]]


@pytest.fixture
def intake(world):
    def make(*, verified: bool = True) -> Intake:
        poster = Poster(Guarded({("127.0.0.1", world.hooks.port)}, lookup=lookup))
        desk = DeliveryDesk(world.db, world.ambient, poster, world.signer, world.calls(), lambda: None)
        return Intake(world.db, poster, desk, verified=verified)

    return make


@pytest.fixture
def accept(intake):
    async def accept(
        email: bool | None = None, caller: Principal = NORMAL, *, waits: bool = False, **webhook: str
    ) -> Delivery | None:
        target = WebhookTarget(**webhook) if webhook else None
        return await intake().accept(DeliveryRequest(email=email, webhook=target), caller, waits=waits)

    return accept


def test_whose_result_is_mailed_although_nobody_said_so() -> None:
    told = {
        (tier, waits): mailed_by_default(tier, waits=waits)
        for tier in ("normal", "premium")
        for waits in (0, 1)
    }
    assert [case for case, mailed in told.items() if mailed] == [("normal", 1)]


async def test_email(accept, intake) -> None:
    mailed = Delivery(email=True)
    assert await accept(True) == mailed
    assert await accept(False, waits=True) is None
    assert await accept(waits=True) == mailed
    assert await accept(waits=False) is None
    assert await accept(caller=premium(ANN), waits=True) is None
    assert await accept(True, premium(ANN)) == mailed
    assert await intake().accept(None, NORMAL, waits=True) == mailed
    assert await intake().accept(None, NORMAL, waits=False) is None


@pytest.mark.parametrize("caller", [premium(BOB), premium()])
async def test_nobody_without_an_address_is_mailed_to(accept, caller) -> None:
    with pytest.raises(InvalidInputs) as refused:
        await accept(True, caller)
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == ("/delivery/email", "not_allowed")
    assert "no address" in fault.message
    assert await accept(caller=replace(caller, tier="normal"), waits=True) is None


async def test_no_mail_to_addresses_that_nobody_proved(intake) -> None:
    """GATEWAY_SIGNUP=open takes any address, somebody else's too."""
    with pytest.raises(InvalidInputs, match="not verified"):
        await intake(verified=False).accept(DeliveryRequest(email=True), NORMAL, waits=False)
    assert await intake(verified=False).accept(None, NORMAL, waits=True) is None


async def test_a_url_becomes_an_endpoint_once(world, accept) -> None:
    first = await accept(url="https://hooks.test/a#part")
    again = await accept(url="https://hooks.test/a", email=True)
    assert first.webhook == again.webhook
    assert again.email
    assert await accept(id=first.webhook) == first
    row = await world.db.read(lambda c: endpoints.find(c, first.webhook, ANN))
    assert row.url == "https://hooks.test/a"
    others = await accept(url="https://hooks.test/a", caller=premium(BOB))
    assert others.webhook != first.webhook


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.test/", "only https"), ("https://hooks.test:8443/", "port 8443"),
        ("https://me:you@hooks.test/", "user or password"), ("https://inside.test/", "not on the open internet"),
        ("https://nobody.test/", "has no address"), ("https://127.0.0.1/", "not on the open internet"),
        ("https://[::1]/", "not on the open internet"), ("https://169.254.169.254/", "not on the open internet"),
        ("https://0x7f000001/", "plain name or address"), ("http://127.0.0.1:1/", "only https"),
        ("file:///etc/passwd", "only https"), ("", "only https"), ("https://hooks.test/\n", "control character"),
    ],
)  # fmt: skip
async def test_who_may_not_be_called(world, accept, url, why) -> None:
    with pytest.raises(InvalidInputs, match=why) as refused:
        await accept(url=url)
    assert [fault.pointer for fault in refused.value.faults] == ["/delivery/webhook/url"]
    assert await world.db.read(lambda c: endpoints.list_endpoints(c, ANN)) == []


async def test_what_the_operator_allows(world, accept) -> None:
    assert await accept(url=world.hooks.url("/x"))


async def test_ids_of_nobodys_and_of_anothers(world, accept) -> None:
    hers = await world.endpoint(account=BOB)
    for endpoint_id in ("whk_none", hers):
        with pytest.raises(InvalidInputs, match="no webhook endpoint of yours") as refused:
            await accept(id=endpoint_id)
        assert refused.value.faults[0].pointer == "/delivery/webhook/id"


async def test_one_of_url_and_id(world, intake) -> None:
    for target, code in (
        (WebhookTarget(), "missing"),
        (WebhookTarget(url="https://hooks.test/", id="whk_1"), "conflicting_values"),
    ):
        with pytest.raises(InvalidInputs) as refused:
            await intake().accept(DeliveryRequest(webhook=target), NORMAL, waits=False)
        (fault,) = refused.value.faults
        assert (fault.pointer, fault.code) == ("/delivery/webhook", code)


async def test_a_disabled_endpoint_is_not_relied_on(world, accept) -> None:
    hook = await world.endpoint()
    await world.db.write(lambda c: endpoints.disable(c, hook, world.now, "it answered 410 Gone"))
    for given in ({"id": hook}, {"url": world.hooks.url()}):
        with pytest.raises(InvalidInputs, match="disabled: it answered 410 Gone"):
            await accept(**given)


async def test_every_fault_at_once_and_nothing_is_made(world, accept) -> None:
    with pytest.raises(InvalidInputs) as refused:
        await accept(True, premium(BOB), url="http://hooks.test/")
    assert [fault.pointer for fault in refused.value.faults] == ["/delivery/email", "/delivery/webhook/url"]
    with pytest.raises(InvalidInputs):
        await accept(True, premium(BOB), url="https://hooks.test/")
    assert await world.db.read(lambda c: endpoints.list_endpoints(c, BOB)) == []


async def test_no_more_endpoints_than_there_may_be(world, accept) -> None:
    for number in range(endpoints.MOST):
        await world.endpoint(f"/{number}")
    with pytest.raises(Problem) as refused:
        await accept(url="https://hooks.test/one-too-many")
    assert refused.value.document.code == "too_many_webhooks"
