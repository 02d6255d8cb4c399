"""Each defence is held by a test: taken out of a copy of the code, the test fails there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = ("billing", "gateway", "providers", "registry", "templates", "tests")
PEOPLE = "tests/gateway/accounts/test_people.py::"
HOOKS = "tests/gateway/delivery/test_webhooks.py::"
NOT_FALS = "tests/gateway/test_callbacks.py::test_what_is_not_fals_word_to_us_has_no_effect"

# what it is against, file, what stands there, what an attacker would like, the test
DEFENCES = [
    (
        "session fixation",
        "gateway/routes/auth.py",
        "    return _session(core, made, as_cookie=body.cookie)",
        "    import msgspec\n"
        "    brought = request.cookies.get(cookie_name(core), made.token)\n"
        "    made = msgspec.structs.replace(made, token=brought)\n"
        "    return _session(core, made, as_cookie=body.cookie)",
        "tests/gateway/test_security.py::test_a_session_that_a_client_brings_along_is_not_made_its_own",
    ),
    (
        "a page of another origin",
        "gateway/accounts/principals.py",
        "if caller.changes and not caller.own_page:",
        "if False:",
        PEOPLE + "test_a_cookie_counts_from_our_own_pages_alone",
    ),
    (
        "who has an account, by time",
        "gateway/accounts/passwords.py",
        '            await self._run(lambda: self._hasher.verify(password, self._nobody or ""))\n',
        "",
        PEOPLE + "test_an_unknown_address_costs_as_much_as_a_wrong_password",
    ),
    (
        "a right that one gives oneself",
        "gateway/accounts/people_schemas.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        "tests/gateway/test_security.py::test_nobody_gives_themselves_a_right",
    ),
    (
        "a stolen link to a picture, when its time is over",
        "gateway/links.py",
        "if int(expires) <= self._ambient.now_ms() // 1000:",
        "if False:",
        "tests/gateway/test_links.py::test_a_link_works_for_its_time",
    ),
    (
        "a link to another picture",
        "gateway/links.py",
        'if not self._signer.verify(f"{image_id}.{expires}", signature):',
        "if False:",
        "tests/gateway/test_links.py::test_for_its_picture_alone",
    ),
    (
        "a webhook at an address that nobody was given",
        "gateway/webhooks.py",
        'if not secret.isascii() or not self._signer.verify(f"{provider_type}.{attempt_id}", signature):',
        "if not secret.isascii():",
        NOT_FALS,
    ),
    (
        "a webhook that anybody signed",
        "providers/fal/webhooks.py",
        '        raise WebhookRefused("its signature is not of a key of fal\'s")',
        "        return signed.webhook",
        NOT_FALS,
    ),
    (
        "a webhook that is sent again later",
        "providers/fal/webhooks.py",
        "if abs(now_s - int(timestamp)) > WINDOW_S:",
        "if False:",
        NOT_FALS,
    ),
    (
        "a webhook of another account",
        "providers/fal/webhooks.py",
        "if user_ids and user_id not in user_ids:",
        "if False:",
        NOT_FALS,
    ),
    (
        "a webhook of just anybody's, about a job that nobody follows",
        "gateway/callbacks.py",
        "    if not call.ours:",
        "    if False:",
        "tests/gateway/test_callbacks.py::test_without_a_user_id_an_operator_is_told",
    ),
    (
        "a webhook whose name leads into our network when it is called",
        "gateway/media/guarded.py",
        "if not addresses or not (target.allowed or all(self._public(address) for address in addresses)):",
        "if not addresses:",
        HOOKS + "test_a_name_that_became_private_is_not_called",
    ),
    (
        "a webhook that sends us elsewhere",
        "gateway/delivery/poster.py",
        "allow_redirects=False",
        "allow_redirects=True",
        HOOKS + "test_a_redirect_is_not_followed",
    ),
    (
        "mail to an address that somebody else gave",
        "gateway/delivery/intake.py",
        "        if self._verified:",
        "        if True:",
        "tests/gateway/delivery/test_intake.py::test_no_mail_to_addresses_that_nobody_proved",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code once more, to take something out of."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    # Started in the copy, `python -m` finds the copy's packages before the installed ones.
    # Nor does it need a database server: what is taken out is not SQL's.
    quick = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not postgresql")
    command = [sys.executable, "-m", "pytest", *quick, test]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize(
    ("file", "there", "instead", "test"), [d[1:] for d in DEFENCES], ids=[d[0] for d in DEFENCES]
)
def test_without_it_a_test_fails(file: str, there: str, instead: str, test: str, copy: Path) -> None:
    path = copy / file
    code = path.read_text()
    assert there in code, f"{file} has changed: say here what to take out now"
    whole = run(copy, test)
    assert whole.returncode == 0, whole.stdout
    try:
        path.write_text(code.replace(there, instead))
        broken = run(copy, test)
    finally:
        path.write_text(code)
    assert broken.returncode == 1, broken.stdout
    assert " failed" in broken.stdout
