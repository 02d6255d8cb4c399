"""From a credential to who calls."""

import pytest
from msgspec.structs import replace
from support.people import BY, caller

from gateway.accounts.audit import Actor
from gateway.accounts.keys import checksum, new_operator_key
from gateway.accounts.principals import Gatekeeper, Principal, operator_at
from gateway.ambient import Ambient
from gateway.problems import Problem

pytestmark = pytest.mark.every_database

OPERATORS = new_operator_key(Ambient().secret)


@pytest.fixture
def keeper(db, clock):
    made = []

    def make(open_to_all: bool = False, operator_key: str | None = OPERATORS) -> Gatekeeper:
        made.append(Gatekeeper(db, clock.ambient(), open_to_all=open_to_all, operator_key=operator_key))
        return made[-1]

    return make


@pytest.fixture
async def key(accounts, ann) -> str:
    return (await accounts.create_key(ann, "laptop", expires_in_days=30, by=BY))[1].text


async def refused(keeper: Gatekeeper, *authorization: str) -> tuple[str, str, str]:
    with pytest.raises(Problem) as caught:
        await keeper.principal(caller(*authorization))
    assert caught.value.document.status == 401
    return caught.value.document.code, caught.value.headers["WWW-Authenticate"], str(caught.value)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_key_is_its_accounts(keeper, key, ann, scheme) -> None:
    found = await keeper().principal(caller(f"{scheme} {key}"))
    assert found.key is not None
    assert replace(found, key=None) == Principal(
        account_id=ann,
        tier="premium",
        admin=False,
        scopes=frozenset(("generate", "read")),
        address="127.0.0.1",
    )
    assert found.key.id == key[4:16]
    assert found.actor == Actor(account_id=ann, credential=f"key:{key[4:16]}", address="127.0.0.1")


async def test_an_admins_key(keeper, accounts) -> None:
    made = await accounts.create("Root", tier="normal", admin=True, postpaid=True, balance=None, by=BY)
    _, plain = await accounts.create_key(made.account.id, "x", expires_in_days=None, by=BY)
    assert not (await keeper().principal(caller(f"Bearer {plain.text}"))).admin
    scopes = frozenset(("read", "admin"))
    _, key = await accounts.create_key(made.account.id, "x", expires_in_days=None, scopes=scopes, by=BY)
    assert (await keeper().principal(caller(f"Bearer {key.text}"))).admin


@pytest.mark.parametrize(
    "given", [[], [""], ["Bearer"], ["Bearer sk-proj-1"], ["Basic aWd3OmlndzE="], ["igw_x"]]
)
async def test_without_a_key_of_ours(keeper, given) -> None:
    code, challenge, detail = await refused(keeper(), *given)
    assert (code, challenge) == ("authentication_required", 'Bearer realm="image-gateway"')
    assert "gateway keys create" in detail
    assert await keeper(open_to_all=True).principal(caller(*given)) == operator_at("127.0.0.1")


async def test_two_credentials_are_none(keeper, key) -> None:
    assert (await refused(keeper(), f"Bearer {key}", f"Bearer {key}"))[0] == "authentication_required"


@pytest.mark.parametrize("open_to_all", [True, False])
async def test_a_wrong_key_of_ours_is_refused_in_either_mode(keeper, key, accounts, ann, open_to_all) -> None:
    other = (await accounts.create_key(ann, "other", expires_in_days=None, by=BY))[1].text
    wrong = ["igw_", key[:-1], key.lower(), "igw_operator_" + "0" * 43, key + " x"]
    for text in wrong:
        code, challenge, detail = await refused(keeper(open_to_all), f"Bearer {text}")
        assert code == "invalid_api_key"
        assert 'error="invalid_token"' in challenge
        assert key[20:40] not in detail
    # Whole, well-formed, and of nobody: the one's id with the other's secret, and an id that is not there.

    for said in (f"{key[:16]}{other[16:60]}", f"igw_{'0' * 12}{other[16:60]}"):
        code, _, detail = await refused(keeper(open_to_all), f"Bearer {said}{checksum(said)}")
        assert (code, detail.split(".")[0]) == ("invalid_api_key", "No such API key")


async def test_a_revoked_key_is_refused_at_once(keeper, accounts, key) -> None:
    held = keeper()
    await held.principal(caller(f"Bearer {key}"))
    await accounts.revoke(key[4:16], by=BY)
    code, _, detail = await refused(held, f"Bearer {key}")
    assert code == "invalid_api_key"
    assert "was revoked at 2026-11-18T" in detail


async def test_a_key_ends_to_the_millisecond(keeper, key, clock) -> None:
    held = keeper()
    clock.now += 30 * 86_400_000 - 1
    await held.principal(caller(f"Bearer {key}"))
    clock.now += 1
    assert "expired at 2026-12-18T" in (await refused(held, f"Bearer {key}"))[2]


async def test_the_operators_key(keeper) -> None:
    assert await keeper().principal(caller(f"Bearer {OPERATORS}")) == operator_at("127.0.0.1")
    assert (await refused(keeper(operator_key=None), f"Bearer {OPERATORS}"))[0] == "invalid_api_key"
    assert (await refused(keeper(), f"Bearer {OPERATORS[:-1]}"))[0] == "invalid_api_key"
    assert (await refused(keeper(), "Bearer igw_é"))[0] == "invalid_api_key"


async def test_the_use_of_a_key_is_noted_once_a_minute(keeper, accounts, ann, key, clock) -> None:
    async def noted() -> int | None:
        await held.aclose()
        return (await accounts.keys(ann))[0].last_used_at

    held = keeper()
    assert await noted() is None
    first = clock.now
    await held.principal(caller(f"Bearer {key}"))
    assert await noted() == first
    clock.now += 59_999
    await held.principal(caller(f"Bearer {key}"))
    assert await noted() == first
    clock.now += 1
    await held.principal(caller(f"Bearer {key}"))
    assert await noted() == first + 60_000
