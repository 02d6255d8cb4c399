"""What is signed for one purpose, by one of our secrets."""

import stat
from pathlib import Path

from gateway.ambient import Ambient
from gateway.secret import Signer, load_secrets

ONE, TWO = b"1" * 32, b"2" * 32


def test_a_signature_is_for_its_text_and_its_purpose() -> None:
    signer = Signer((ONE,), "verify")
    signature = signer.sign("sgn_1")
    assert len(signature) == 43
    assert signer.verify("sgn_1", signature)
    assert not signer.verify("sgn_2", signature)
    assert not signer.verify("sgn_1", signature[:-1])
    assert not signer.verify("sgn_1", "é")
    assert not Signer((ONE,), "reset").verify("sgn_1", signature)
    assert not Signer((TWO,), "verify").verify("sgn_1", signature)


def test_a_secret_can_be_changed_while_links_live() -> None:
    old = Signer((ONE,), "verify").sign("x")
    both = Signer((TWO, ONE), "verify")
    assert both.verify("x", old)
    assert both.sign("x") == Signer((TWO,), "verify").sign("x")


def test_one_is_made_and_kept_where_none_is_set(tmp_path: Path) -> None:
    made = load_secrets((), tmp_path, Ambient())
    assert load_secrets((), tmp_path, Ambient()) == made
    assert len(made[0]) == 32
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert load_secrets(("a" * 32, "b" * 32), tmp_path, Ambient()) == (b"a" * 32, b"b" * 32)
