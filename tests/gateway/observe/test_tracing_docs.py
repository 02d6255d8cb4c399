"""docs/tracing.md names every attribute and field that there is, and no other."""

import re
from pathlib import Path

from gateway.observe import genai

PAGE = (Path(__file__).parents[3] / "docs" / "tracing.md").read_text("utf-8")


def test_every_attribute_of_a_span_is_on_the_page_and_exists() -> None:
    ours = {
        value
        for name, value in vars(genai).items()
        if name.isupper() and isinstance(value, str) and "." in value
    }
    told = {
        name
        for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", PAGE)
        if name.startswith(("gateway.", "gen_ai.", "http.", "url.", "error."))
    }
    loggers = {"gateway.requests", "gateway.jobs.drive", "gateway.runs.drive"}
    assert ours == told - loggers
    assert loggers <= told
