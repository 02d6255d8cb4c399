"""`/api/auth`: sign-up, sign-in, sign-out and passwords."""

from typing import Any

from litestar import Request, Response, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency

from gateway.access import PUBLIC, SESSION, cookie_name, visitor
from gateway.accounts.people_schemas import (
    PasswordRequest,
    ResetConfirmRequest,
    ResetRequest,
    SessionView,
    SigninRequest,
    SignoutRequest,
    SignupRequest,
    SignupView,
    VerifyRequest,
)
from gateway.accounts.principals import Principal
from gateway.accounts.sessions import ABSOLUTE_MS, NewSession
from gateway.ambient import iso
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.schemas import json_response

__all__ = ["confirm_reset", "password", "reset", "signin", "signout", "signup", "verify"]

SECRET = {"Cache-Control": "no-store"}
SENT = SignupView(status="check_email", next="Open the link in the mail")


ANN = {"email": "ann@example.com", "password": "correct-horse-battery-staple"}


@post(
    "/api/auth/signup",
    status_code=202,
    summary="Sign up",
    tags=["People"],
    opt=PUBLIC
    | takes(SignupRequest, ANN)
    | may("signup_refused", "invalid_email", "weak_password", "too_many_requests", "too_busy"),
)
async def signup(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[SignupView]:
    """Ask for an account. The answer is the same whether the address has one: the mail tells."""
    body = await read_body(request, SignupRequest)
    by = visitor(request, core)
    linked = await core.office.signups.sign_up(body.email, body.password, body.invite, by)
    done = SignupView(status="sign_in", next="POST /api/auth/signin")
    return json_response(SENT if linked else done, 202)


@post(
    "/api/auth/verify",
    status_code=200,
    summary="Confirm an address",
    tags=["People"],
    opt=PUBLIC | takes(VerifyRequest, {"token": "..."}) | may("bad_link"),
)
async def verify(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[SignupView]:
    """Make the account of a mailed link: `token` is what stands behind its `#`."""
    body = await read_body(request, VerifyRequest)
    await core.office.signups.verify(body.token, visitor(request, core))
    return json_response(SignupView(status="sign_in", next="POST /api/auth/signin"))


@post(
    "/api/auth/signin",
    status_code=200,
    summary="Sign in",
    tags=["People"],
    opt=PUBLIC
    | takes(SigninRequest, ANN)
    | may("wrong_credentials", "account_closed", "too_many_requests", "too_busy"),
)
async def signin(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[SessionView]:
    """Open a session. Programs send `token` as 'Authorization: Bearer'; with `cookie` a browser keeps it."""
    body = await read_body(request, SigninRequest)
    agent = request.headers.get("user-agent", "")
    made = await core.office.sessions.sign_in(body.email, body.password, visitor(request, core), agent)
    return _session(core, made, as_cookie=body.cookie)


@post(
    "/api/auth/signout",
    status_code=204,
    summary="Sign out",
    tags=["People"],
    opt=SESSION | takes(SignoutRequest, {"everywhere": True}),
)
async def signout(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[None]:
    """End this session, or with `everywhere` all of the account's. API keys go on working."""
    body = await read_body(request, SignoutRequest)
    await core.office.sessions.sign_out(principal.session or "", principal.actor, everywhere=body.everywhere)
    return Response(None, status_code=204, cookies=[_cookie(core, "", max_age=0)])


@post(
    "/api/auth/password",
    status_code=200,
    summary="Change the password",
    tags=["People"],
    opt=SESSION
    | takes(PasswordRequest, {"current": ANN["password"], "new": "another-horse-battery-staple"})
    | may("wrong_credentials", "weak_password", "too_many_requests", "too_busy"),
)
async def password(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[SessionView]:
    """Set a new password. Every session ends; the answer is a new one."""
    body = await read_body(request, PasswordRequest)
    agent = request.headers.get("user-agent", "")
    made = await core.office.resets.change_password(body.current, body.new, principal.actor, agent)
    return _session(core, made, as_cookie=cookie_name(core) in request.cookies)


@post(
    "/api/auth/reset",
    status_code=202,
    summary="Forgot the password",
    tags=["People"],
    opt=PUBLIC | takes(ResetRequest, {"email": ANN["email"]}) | may("invalid_email", "too_many_requests"),
)
async def reset(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[SignupView]:
    """Have a link mailed to set a new password. The answer is the same whether there is an account."""
    body = await read_body(request, ResetRequest)
    await core.office.resets.ask_reset(body.email, visitor(request, core))
    return json_response(SENT, 202)


@post(
    "/api/auth/reset/confirm",
    status_code=200,
    summary="Set a new password",
    tags=["People"],
    opt=PUBLIC
    | takes(ResetConfirmRequest, {"token": "...", "password": "another-horse-battery-staple"})
    | may("bad_link", "weak_password", "too_busy"),
)
async def confirm_reset(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[SignupView]:
    """Set a new password by a mailed link. Every session ends."""
    body = await read_body(request, ResetConfirmRequest)
    await core.office.resets.reset(body.token, body.password, visitor(request, core))
    return json_response(SignupView(status="sign_in", next="POST /api/auth/signin"))


def _session(core: Core, made: NewSession, *, as_cookie: bool) -> Response[SessionView]:
    """A session as it is shown once: to a script of a page it is not shown at all."""
    token = None if as_cookie else made.token
    view = SessionView(token=token, account_id=made.account_id, expires_at=iso(made.expires_at))
    response = json_response(view, 200, SECRET)
    if as_cookie:
        response.cookies.append(_cookie(core, made.token, max_age=ABSOLUTE_MS // 1000))
    return response


def _cookie(core: Core, value: str, *, max_age: int) -> Cookie:
    return Cookie(
        key=cookie_name(core),
        value=value,
        path="/",
        max_age=max_age,
        secure=core.settings.public_url.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
