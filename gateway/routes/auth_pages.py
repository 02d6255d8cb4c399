"""`/auth/verify`, `/auth/reset`: the pages that mailed links lead to.

A link is followed by mail scanners too, so opening it does nothing: its reader presses a button. The
token is in the fragment, which no browser sends anywhere; a script of our own hands it over.
"""

from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from gateway.access import PUBLIC
from gateway.problems import Problem

__all__ = ["auth_asset", "reset_page", "verify_page"]

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/auth/assets/auth.css">
</head>
<body>
<main>
<h1>{title}</h1>
<form id="form" data-path="{path}" data-done="{done}">
{fields}
<button>{button}</button>
</form>
<p id="said" role="status"></p>
<noscript><p>This page needs JavaScript; programs send the token to {path}.</p></noscript>
</main>
<script src="/auth/assets/auth.js"></script>
</body>
</html>
"""

VERIFY: Final = _PAGE.format(
    title="Confirm your address",
    path="/api/auth/verify",
    done="Your account is ready: sign in with your address and password.",
    fields="",
    button="Confirm",
)
RESET: Final = _PAGE.format(
    title="Set a new password",
    path="/api/auth/reset/confirm",
    done="The password is set, and every session was ended: sign in with it.",
    fields=(
        '<label>New password, 12 characters or more\n<input id="password" type="password" '
        'autocomplete="new-password" minlength="12" maxlength="256" required></label>'
    ),
    button="Set it",
)

_SCRIPT: Final = b"""const form = document.getElementById("form");
const said = document.getElementById("said");
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (!token) {
  said.textContent = "The link is not whole: copy all of it from the mail.";
  form.hidden = true;
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const password = document.getElementById("password");
  button.disabled = true;
  said.textContent = "";
  try {
    const answer = await fetch(form.dataset.path, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify(password ? {token, password: password.value} : {token}),
    });
    if (answer.ok) {
      said.textContent = form.dataset.done;
      form.hidden = true;
      return;
    }
    said.textContent = (await answer.json()).detail;
  } catch {
    said.textContent = "The gateway did not answer. Try again.";
  }
  button.disabled = false;
});
"""

_STYLE: Final = b"""body {
  margin: 0; padding: 8vh 16px; background: #f4f5f7; color: #1c1e21;
  font: 16px/1.5 system-ui, sans-serif;
}
main {
  max-width: 26rem; margin: auto; background: #fff; border: 1px solid #dfe1e6;
  border-radius: 8px; padding: 24px;
}
h1 { font-size: 20px; margin: 0 0 16px; }
label { display: block; margin-bottom: 16px; }
input { display: block; box-sizing: border-box; width: 100%; margin-top: 4px; padding: 8px; font: inherit;
  border: 1px solid #8c929b; border-radius: 6px; }
button {
  background: #2457c5; color: #fff; border: 0; border-radius: 6px; padding: 10px 18px;
  font: inherit; cursor: pointer;
}
button:disabled { opacity: .5; }
[hidden] { display: none; }
"""

_ASSETS: Final = {"auth.js": (_SCRIPT, "text/javascript"), "auth.css": (_STYLE, "text/css")}


@get("/auth/verify", include_in_schema=False, opt=PUBLIC, media_type="text/html")
async def verify_page() -> str:
    """The page of a link that makes an account."""
    return VERIFY


@get("/auth/reset", include_in_schema=False, opt=PUBLIC, media_type="text/html")
async def reset_page() -> str:
    """The page of a link that sets a new password."""
    return RESET


@get("/auth/assets/{name:str}", include_in_schema=False, opt=PUBLIC)
async def auth_asset(name: FromPath[str]) -> Response[bytes]:
    """The script or the style sheet of these pages."""
    found = _ASSETS.get(name)
    if found is None:
        raise Problem("not_found", f"The page has no asset {name!r}")
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=86400"})
