"""A start rehearses what the tests have not."""

from importlib import resources
from pathlib import Path

import msgspec
import pytest
from support.template_folder import OVERLAY, write_template

from templates import library
from templates.errors import TemplateError
from templates.library import TRIED, TemplateLibrary
from templates.tried import versions


def test_what_is_shipped_was_rehearsed_as_it_is() -> None:
    noted = resources.files("templates").joinpath("library", TRIED).read_bytes()
    assert msgspec.json.decode(noted) == versions(), "run python -m templates.tried"


def test_what_was_rehearsed_is_compiled_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    library._read.cache_clear()
    template = TemplateLibrary.load().templates["billboard"]
    assert "sources" not in vars(template)
    assert template.overlay is not None
    assert "sources" in vars(template)


def test_a_template_of_a_shipped_ones_name_is_rehearsed(tmp_path: Path) -> None:
    write_template(tmp_path, "billboard", overlay=OVERLAY.replace("size=24", "size=24, x=-5"))
    with pytest.raises(TemplateError, match="safe area"):
        TemplateLibrary.load(tmp_path)
