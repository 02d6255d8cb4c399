"""What a provider is built from."""

from io import StringIO

from rich.console import Console

from providers.base import MediaRef, ProviderContext, revive_media
from registry.schema import ProviderRow


def test_a_context_never_shows_its_environment() -> None:
    context = ProviderContext(
        name="fal", row=ProviderRow(type="fal", key="FAL_KEY"), env={"FAL_KEY": "canary"}, data_dir="/data"
    )
    shown = StringIO()
    Console(file=shown).print(context)
    assert "canary" not in repr(context) + f"{context}" + shown.getvalue()


def test_media_come_back_from_json() -> None:
    stored = {"loras": [{"path": {"$type": "media", "url": "s3://b/l"}, "scale": 1.0}], "prompt": "x"}
    assert revive_media(stored) == {
        "loras": [{"path": MediaRef(url="s3://b/l"), "scale": 1.0}],
        "prompt": "x",
    }
