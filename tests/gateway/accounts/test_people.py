"""Sign-up, sign-in and passwords on a real database: what a story cannot turn, a clock can."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select
from support.people import BY, caller

from gateway.accounts import logins
from gateway.accounts.audit import Actor
from gateway.accounts.desk import Desk
from gateway.accounts.invites import Invites
from gateway.accounts.passwords import Passwords
from gateway.accounts.principals import Gatekeeper
from gateway.accounts.resets import RESET_HOURS, Resets
from gateway.accounts.rules import SignupRule
from gateway.accounts.service import Change
from gateway.accounts.sessions import ABSOLUTE_MS, IDLE_MS, Sessions
from gateway.accounts.signup import VERIFY_HOURS, Signups
from gateway.db.tables import account, login, outbox, session
from gateway.delivery import outbox as rows
from gateway.mail.letters import Letter, Letters
from gateway.problems import Problem
from gateway.secret import Signer

pytestmark = pytest.mark.every_database

EMAIL, PASSWORD, OTHER = "ann@example.org", "violet hammock tundra 42", "kettle orbit parsnip 77"
HOME = Actor(account_id="-", credential="-", address="203.0.113.9")
AWAY = replace(HOME, address="198.51.100.7")


class CountingHasher(PasswordHash):
    """The real work with little memory; says how often it was done."""

    def __init__(self) -> None:
        super().__init__((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
        self.checks = 0

    def verify(self, *args, **kwargs):
        self.checks += 1
        return super().verify(*args, **kwargs)

    def verify_and_update(self, *args, **kwargs):
        self.checks += 1
        return super().verify_and_update(*args, **kwargs)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


class World:
    """Everything about people, on one database."""

    def __init__(self, db, clock, hasher) -> None:
        self.db, self.clock = db, clock
        self.signers = {purpose: Signer((b"1" * 32,), purpose) for purpose in ("verify", "reset", "invite")}
        self.letters = Letters(self.signers, "https://images.example.org", "a@example.org")
        self.woken = 0
        self.desk = Desk(db, clock.ambient(), Passwords(hasher), self.signers, self.wake)
        self.sessions, self.resets, self.invites = Sessions(self.desk), Resets(self.desk), Invites(self.desk)
        self.keeper = Gatekeeper(db, clock.ambient(), open_to_all=False, operator_key=None)
        self.rule(SignupRule())

    def wake(self) -> None:
        self.woken += 1

    def rule(self, rule: SignupRule | None) -> None:
        self.signups = Signups(self.desk, rule)

    async def mails(self, name: str) -> list[str]:
        """The recipients of the letters of a name, and the tokens of their links."""
        found = await self.db.read(lambda c: rows.due(c, "email", self.clock.now + 10**12, limit=100))
        letters = [(one, msgspec.json.decode(one.message, type=Letter)) for one in found]
        return [
            self.letters.token(letter.link) if letter.link else one.recipient
            for one, letter in letters
            if letter.name == name
        ]

    async def ann(self) -> str:
        """Her account."""
        await self.signups.sign_up(EMAIL, PASSWORD, None, HOME)
        await self.signups.verify((await self.mails("verify"))[-1], HOME)
        found = await self.db.read(lambda c: logins.find_login(c, EMAIL))
        assert found is not None
        return found.account_id

    async def count(self, table) -> int:
        return len(await self.db.read(lambda c: c.execute(select(table)).all()))


@pytest.fixture
def world(db, clock, hasher) -> World:
    return World(db, clock, hasher)


async def refused(call) -> Problem:
    with pytest.raises(Problem) as caught:
        await call
    return caught.value


def code(problem: Problem) -> str:
    return problem.document.code


async def test_an_account_is_made_when_the_link_is_followed_and_once(world) -> None:
    assert await world.signups.sign_up(" Ann@Example.ORG ".strip(), PASSWORD, None, HOME)
    assert await world.count(account) == 0
    (token,) = await world.mails("verify")
    for _ in range(2):
        await world.signups.verify(token, HOME)
    assert await world.count(account) == 1
    assert await world.mails("welcome") == [EMAIL]


async def test_of_two_links_to_one_address_the_first_counts(world) -> None:
    await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    await world.signups.sign_up(EMAIL, OTHER, None, AWAY)
    first, second = await world.mails("verify")
    await world.signups.verify(second, HOME)
    await world.signups.verify(first, HOME)
    assert await world.count(account) == 1
    assert await world.sessions.sign_in(EMAIL, OTHER, HOME, "")
    assert code(await refused(world.sessions.sign_in(EMAIL, PASSWORD, HOME, ""))) == "wrong_credentials"


async def test_a_link_works_for_a_day(world, clock) -> None:
    await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    (token,) = await world.mails("verify")
    clock.now += VERIFY_HOURS * 3_600_000
    assert code(await refused(world.signups.verify(token, HOME))) == "bad_link"
    assert await world.count(account) == 0


@pytest.mark.parametrize("change", ["cut", "other id", "other purpose"])
async def test_a_link_that_was_changed_does_not(world, change) -> None:
    await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    (token,) = await world.mails("verify")
    id_, _, signature = token.partition(".")
    wrong = {
        "cut": token[:-1],
        "other id": f"sgn_other.{signature}",
        "other purpose": f"{id_}.{world.signers['reset'].sign(id_)}",
    }
    assert code(await refused(world.signups.verify(wrong[change], HOME))) == "bad_link"


@pytest.mark.parametrize(
    ("rule", "email", "said"),
    [
        (None, EMAIL, "takes no sign-ups"),
        (SignupRule(invited=True), EMAIL, "by invitation"),
        (SignupRule(domains=("a.org",)), EMAIL, "for addresses of a.org"),
        (SignupRule(domains=("a.org",)), "ann@b.a.org", "for addresses of a.org"),
    ],
)
async def test_who_is_not_let_in(world, rule, email, said) -> None:
    world.rule(rule)
    problem = await refused(world.signups.sign_up(email, PASSWORD, None, HOME))
    assert code(problem) == "signup_refused"
    assert said in str(problem)
    assert await world.count(outbox) == 0


async def test_where_anybody_may_one_signs_in_at_once(world) -> None:
    world.rule(SignupRule(verified=False))
    assert not await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    assert await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")


async def test_an_invitation_is_good_once_for_its_address(world, clock) -> None:
    world.rule(SignupRule(invited=True))
    made = await world.invites.create("Ann@example.org", tier="premium", days=3, by=BY)
    wrong = await refused(world.signups.sign_up("bob@example.org", PASSWORD, made.code, HOME))
    assert "for another address" in str(wrong)
    forged = f"{made.row.id}.{'x' * 43}"
    assert code(await refused(world.signups.sign_up(EMAIL, PASSWORD, forged, HOME))) == "signup_refused"
    await world.signups.sign_up(EMAIL, PASSWORD, made.code, HOME)
    await world.signups.verify((await world.mails("verify"))[0], HOME)
    (row,) = await world.db.read(lambda c: c.execute(select(account.c.tier)).all())
    assert row.tier == "premium"
    used = await refused(world.signups.sign_up("cy@example.org", PASSWORD, made.code, HOME))
    assert "was used" in str(used)
    late = await world.invites.create(None, tier="normal", days=3, by=BY)
    clock.now += 3 * 86_400_000
    assert "has run out" in str(await refused(world.signups.sign_up(EMAIL, PASSWORD, late.code, HOME)))
    assert [found.used_by is None for found in await world.invites.all()] == [False, True]


async def test_an_unknown_address_costs_as_much_as_a_wrong_password(world, hasher) -> None:
    await world.ann()
    await refused(world.sessions.sign_in("nobody@example.org", PASSWORD, HOME, ""))
    for email in ("nobody@example.org", EMAIL):
        before = hasher.checks
        assert code(await refused(world.sessions.sign_in(email, OTHER, HOME, ""))) == "wrong_credentials"
        assert hasher.checks == before + 1


async def test_a_session_ends_without_use_and_in_any_case(world, clock) -> None:
    await world.ann()
    made = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")

    async def refusal() -> str | None:
        try:
            await world.keeper.principal(caller(f"Bearer {made.token}"))
        except Problem as problem:
            return code(problem)
        finally:
            await world.keeper.aclose()
        return None

    opened = clock.now
    while clock.now < opened + ABSOLUTE_MS:
        assert await refusal() is None
        clock.now += IDLE_MS - 60_000
    assert await refusal() == "invalid_session"

    idle = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    clock.now += IDLE_MS + 60_000
    with pytest.raises(Problem):
        await world.keeper.principal(caller(f"Bearer {idle.token}"))


async def test_only_a_digest_of_a_session_is_kept(world) -> None:
    await world.ann()
    made = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "x" * 999)
    (row,) = await world.db.read(lambda c: c.execute(select(session)).mappings().all())
    assert made.token[4:40] not in str(dict(row))
    assert len(row["user_agent"]) == 200
    assert made.token not in repr(made)


@pytest.mark.parametrize("token", ["igs_", "igs_" + "0" * 49, "igs_" + "é" * 49])
async def test_what_is_no_session(world, token) -> None:
    assert code(await refused(world.keeper.principal(caller(f"Bearer {token}")))) == "invalid_session"


async def test_tries_are_limited_and_nobody_is_locked_out(world) -> None:
    await world.ann()
    await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    problems = [await refused(world.sessions.sign_in(EMAIL, OTHER, AWAY, "")) for _ in range(9)]
    assert [code(problem) for problem in problems] == ["wrong_credentials"] * 8 + ["too_many_requests"]
    assert int(problems[-1].headers["Retry-After"]) > 0
    assert problems[-1].headers["RateLimit-Policy"] == '"signin-pair";q=8;w=480'
    # From there not even the right one is looked at; at home nothing has changed.
    assert code(await refused(world.sessions.sign_in(EMAIL, PASSWORD, AWAY, ""))) == "too_many_requests"
    assert await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")


async def test_tries_from_everywhere_do_not_keep_out_who_was_here_before(world) -> None:
    await world.ann()
    await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    for number in range(70):
        by = replace(AWAY, address=f"198.18.{number}.1")
        await refused(world.sessions.sign_in(EMAIL, OTHER, by, ""))
    assert code(await refused(world.sessions.sign_in(EMAIL, PASSWORD, AWAY, ""))) == "too_many_requests"
    assert await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")


async def test_who_signs_in_often_is_not_limited(world) -> None:
    await world.ann()
    for _ in range(20):
        await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")


async def test_a_limit_of_an_address_that_has_no_account_looks_the_same(world) -> None:
    await world.ann()
    answers = {}
    for email in (EMAIL, "nobody@example.org"):
        found = [await refused(world.sessions.sign_in(email, OTHER, AWAY, "")) for _ in range(9)]
        answers[email] = [(code(one), one.document.detail) for one in found]
    assert answers[EMAIL] == answers["nobody@example.org"]


async def test_a_reset_works_once_and_for_an_hour(world, clock) -> None:
    await world.ann()
    await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    await world.resets.ask_reset(EMAIL.upper(), AWAY)
    await world.resets.ask_reset("nobody@example.org", AWAY)
    await world.resets.ask_reset(EMAIL, AWAY)
    first, second = await world.mails("reset")
    await world.resets.reset(first, OTHER, AWAY)
    assert await world.count(session) == 0
    # One new password makes every other link worthless.
    assert code(await refused(world.resets.reset(second, PASSWORD, AWAY))) == "bad_link"
    await world.resets.ask_reset(EMAIL, AWAY)
    clock.now += RESET_HOURS * 3_600_000
    assert (
        code(await refused(world.resets.reset((await world.mails("reset"))[-1], PASSWORD, AWAY)))
        == "bad_link"
    )


async def test_a_mailbox_is_not_flooded(world) -> None:
    await world.ann()
    for number in range(9):
        await world.resets.ask_reset(EMAIL, replace(AWAY, address=f"198.18.{number}.1"))
    assert len(await world.mails("reset")) == 3  # the sign-up's own was the fourth


async def test_a_closed_account_is_told_so_to_who_knows_its_password(world, accounts) -> None:
    account_id = await world.ann()
    made = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    await accounts.change(account_id, Change(closed=True), BY)
    assert code(await refused(world.sessions.sign_in(EMAIL, OTHER, HOME, ""))) == "wrong_credentials"
    assert code(await refused(world.sessions.sign_in(EMAIL, PASSWORD, HOME, ""))) == "account_closed"
    assert code(await refused(world.keeper.principal(caller(f"Bearer {made.token}")))) == "invalid_session"


async def test_a_change_of_rights_ends_the_sessions(world, accounts) -> None:
    account_id = await world.ann()
    made = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    await accounts.change(account_id, Change(admin=True), BY)
    assert code(await refused(world.keeper.principal(caller(f"Bearer {made.token}")))) == "invalid_session"


async def test_a_login_of_ones_own_making(world, accounts) -> None:
    made = await accounts.create("Root", tier="premium", admin=True, postpaid=True, balance=None, by=BY)
    await world.signups.give_login(made.account.id, "Root@Example.org", PASSWORD, BY)
    session_ = await world.sessions.sign_in("root@example.org", PASSWORD, HOME, "")
    assert (await world.keeper.principal(caller(f"Bearer {session_.token}"))).admin
    again = await refused(world.signups.give_login(made.account.id, "x@example.org", PASSWORD, BY))
    assert code(again) == "email_used"
    assert (
        code(await refused(world.signups.give_login("acc_no", "y@example.org", PASSWORD, BY))) == "not_found"
    )
    assert await world.count(login) == 1


async def test_a_cookie_counts_from_our_own_pages_alone(world) -> None:
    await world.ann()
    token = (await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")).token
    assert await world.keeper.principal(caller(cookie=token))
    assert await world.keeper.principal(caller(cookie=token, changes=True, own_page=True))
    problem = await refused(world.keeper.principal(caller(cookie=token, changes=True)))
    assert code(problem) == "cross_site_request"
    # A header that no page of another origin can write counts from everywhere.
    assert await world.keeper.principal(caller(f"Bearer {token}", cookie=token, changes=True))


async def test_what_was_done_is_written_down(world, accounts) -> None:
    account_id = await world.ann()
    made = await world.sessions.sign_in(EMAIL, PASSWORD, HOME, "")
    principal = await world.keeper.principal(caller(f"Bearer {made.token}"))
    await world.resets.change_password(PASSWORD, OTHER, principal.actor, "")
    await world.keeper.aclose()
    rows = await accounts.audit_log(account_id, None, 10)
    assert [row.action for row in rows] == ["password.change", "session.open", "account.signup"]
    assert (rows[0].actor, rows[0].credential) == (account_id, "session")
    assert EMAIL not in str(rows)
    assert (await accounts.audit_log(None, rows[0].id, 10))[0].action == "session.open"


async def test_sign_ups_at_once_make_one_account(world) -> None:
    await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    await world.signups.sign_up(EMAIL, PASSWORD, None, HOME)
    tokens: list[str] = await world.mails("verify")
    calls: list[Callable] = [lambda token=token: world.signups.verify(token, HOME) for token in tokens * 3]
    await asyncio.gather(*(call() for call in calls))
    assert await world.count(account) == 1


async def test_a_link_that_is_followed_twice_at_once_works_once(world) -> None:
    await world.ann()
    await world.resets.ask_reset(EMAIL, AWAY)
    token = (await world.mails("reset"))[-1]
    ends = await asyncio.gather(
        *(world.resets.reset(token, OTHER, AWAY) for _ in range(4)), return_exceptions=True
    )
    assert ends.count(None) == 1
    assert {code(end) for end in ends if end is not None} == {"bad_link"}
