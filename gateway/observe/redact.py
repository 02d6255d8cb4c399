"""Takes secrets out of what is logged or told to a collector of traces.

Nothing of ours logs a secret; this is for what others say: a library at level debug, the text of an error.
Two nets: the very values of the settings that are secret, and what looks like a credential by its form.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

from gateway.setting_table import SETTINGS

__all__ = ["LEFT_OUT", "REDACTED", "Redactor", "secrets_of"]

REDACTED = "[redacted]"
LEFT_OUT = "[left out]"

SECRET_FIELDS = frozenset(
    ("authorization", "proxy-authorization", "cookie", "set-cookie", "password", "secret", "token", "api_key")
)
PROMPT_FIELDS = frozenset(("prompt", "negative_prompt", "inputs", "variables", "body"))

MIN_VALUE = 6
"""A shorter secret is a word that may well be said."""

# Cheaper than the patterns themselves: most lines have none of it.
SUSPECT = re.compile(
    r"igw_|igs_|whsec_|sk-|hf_|AKIA|ASIA|a[ks]-|bearer|basic|\bkey |authorization|cookie|://|[?&]\w"
    r"|password|secret|token|webhooks/",
    re.IGNORECASE,
)
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # Ours: the id of a key is no secret, and says which.
        (r"\b(igw_[0-9A-Za-z]{8,12})_[0-9A-Za-z]{20,}", rf"\1_{REDACTED}"),
        (r"\bigs_[0-9A-Za-z]{16,}", f"igs_{REDACTED}"),
        (r"\bwhsec_[0-9A-Za-z+/=_-]{16,}", f"whsec_{REDACTED}"),
        (r"(?<!/api)(/webhooks/\w+/)[^\s\"'?{]+", rf"\1{REDACTED}"),
        # Others'.
        (r"\b(sk-|hf_|ak-|as-)[0-9A-Za-z_-]{16,}", rf"\1{REDACTED}"),
        (r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", rf"\1{REDACTED}"),
        # However they are sent.
        (r"(?i)\b(bearer|basic)\s+[0-9A-Za-z._~+/=:-]{8,}", rf"\1 {REDACTED}"),
        (r"(?i)\b(key)\s+[^\s:\"']{4,}:[^\s\"',;]{4,}", rf"\1 {REDACTED}"),
        (r"(?i)\b((?:set-)?cookie[\"']?\s*[:=]\s*)[^\r\n]+", rf"\1{REDACTED}"),
        (r"(igw_session=)[^;\s\"']+", rf"\1{REDACTED}"),
        (r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", rf"\1{REDACTED}@"),
        (
            r"(?i)([?&](?:signature|sig|token|key|api_?key|access_token|secret|password|x-amz-[a-z-]+)=)"
            r"[^&\s\"'<>]+",
            rf"\1{REDACTED}",
        ),
        (
            r"(?i)([\"']?(?:password|passwd|secret|token|api_?key|access_token|authorization)[\"']?"
            r"\s*[:=]\s*[\"'])[^\"']+",
            rf"\1{REDACTED}",
        ),
    )
)


class Redactor:
    """Knows the secrets of one process; also a structlog processor.

    Args:
        secrets: texts that must not be said.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = sorted({one for one in secrets if len(one) >= MIN_VALUE}, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, found))) if found else None

    def cleaned(self, text: str) -> str:
        """A text without secrets."""
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        if SUSPECT.search(text) is None:
            return text
        for pattern, put in PATTERNS:
            text = pattern.sub(put, text)
        return text

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A line without them, and without what somebody asked to be drawn."""
        for name, value in event.items():
            plain = name.lower()
            if plain in SECRET_FIELDS:
                event[name] = REDACTED
            elif plain in PROMPT_FIELDS:
                event[name] = LEFT_OUT
            elif isinstance(value, str):
                event[name] = self.cleaned(value)
        return event


def secrets_of(env: Mapping[str, str]) -> list[str]:
    """The values of an environment that are secret: whole, each part of a list, the password of a URL."""
    found: list[str] = []
    for setting in SETTINGS:
        value = env.get(setting.name, "").strip() if setting.secret else ""
        if not value:
            continue
        found += [value, *(part.strip() for part in value.split(","))]
        if "://" in value:
            try:
                password = urlsplit(value).password or ""
            except ValueError:  # it is no URL, and is told as that elsewhere
                continue
            found += [password, unquote(password)]
    return found
