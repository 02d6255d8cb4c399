"""Which provider types exist, found without importing what they need."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from providers.base import Provider, ProviderContext
from providers.discovery import GROUP, DiscoveryError, Providers, ProviderTypes, provider_types
from registry.load import load_registry
from registry.schema import ProviderRow, Route

SHIPPED = load_registry()
ROUTE = SHIPPED.models["embedded-mini"].routes[0]

PACKAGE = """
class Acme:
    type = "acme"
    def idempotent_submit(self, route): return False
    def __init__(self, context): self.context, self.closed = context, 0
    @classmethod
    def unavailable(cls, context, route): return None
    @classmethod
    def create(cls, context): return cls(context)
    async def submit(self, call): raise NotImplementedError
    def handle_for(self, route, remote_id): raise NotImplementedError
    async def poll(self, handle): raise NotImplementedError
    async def cancel(self, handle): raise NotImplementedError
    async def aclose(self): self.closed += 1

class Outer:
    class Inner(Acme): type = "inner"

class Stuck(Acme):
    type = "stuck"
    async def aclose(self): raise RuntimeError("stuck")

class Half:
    type = "half"
    def submit(self): ...
"""


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of someone else's, to be imported."""
    (tmp_path / "acme_images.py").write_text(PACKAGE)
    (tmp_path / "acme_broken.py").write_text("raise RuntimeError('no licence')")
    (tmp_path / "acme_syntax.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("acme_images", "acme_broken", "acme_syntax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def providers(rows: dict[str, ProviderRow], *points: EntryPoint, **env: str) -> Providers:
    return Providers(rows, env, "/nowhere", provider_types(points))


def route(provider: str) -> Route:
    found = SHIPPED.models["flux-dev"].routes[-1] if provider == "fal" else ROUTE
    assert found.provider == provider
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acme", "acme_images:Acme"),
        ("acme", "acme_images:Acme [extra]"),
        ("inner", "acme_images:Outer.Inner"),
    ],
)
def test_a_package_adds_a_type(name: str, value: str) -> None:
    found = providers({"mine": ProviderRow(type=name)}, point(name, value)).get("mine")
    assert isinstance(found, Provider)
    assert found.type == name


def test_an_instance_is_built_once_from_its_row() -> None:
    row = ProviderRow(type="acme", base_url="https://a.org")
    found: Any = providers({"mine": row}, point("acme", "acme_images:Acme"), A="b")
    assert found.get("mine") is found.get("mine")
    assert found.get("mine").context == ProviderContext(
        name="mine", row=row, env={"A": "b"}, data_dir="/nowhere"
    )


@pytest.mark.parametrize("name", ["diffusers_modal", "fal"])
def test_a_name_of_ours_is_taken(name: str) -> None:
    with pytest.raises(DiscoveryError, match=f"registers the provider type '{name}', which exists already"):
        provider_types((point(name, "acme_images:Acme"),))


def test_a_name_is_taken_once() -> None:
    twice = (point("acme", "acme_images:Acme"), point("acme", "other:Acme"))
    with pytest.raises(DiscoveryError, match="other:Acme registers the provider type 'acme'"):
        provider_types(twice)


def test_an_unknown_type_names_those_that_exist() -> None:
    with pytest.raises(DiscoveryError, match="unknown type 'nix'; known: acme, diffusers_modal, fal"):
        providers({"mine": ProviderRow(type="nix")}, point("acme", "acme_images:Acme"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:X", "No module named"),
        ("acme_images:Missing", "has no attribute 'Missing'"),
        ("acme_broken:X", "no licence"),
        ("acme_syntax:X", "SyntaxError"),
        ("acme_images", "cannot be loaded"),
        (":X", "cannot be loaded"),
        ("acme_images:Acme", "is not a provider of type 'half'"),
        ("acme_images:Half", "it has no unavailable, create, handle_for, poll, cancel, aclose"),
    ],
)
def test_what_cannot_be_loaded_says_why(value: str, message: str) -> None:
    types = provider_types((point("half", value),))
    with pytest.raises(DiscoveryError, match=message) as caught:
        types.load("half")
    assert value in str(caught.value)
    assert "pip install" not in str(caught.value)  # of another package we know no extra


def test_a_built_in_that_cannot_be_loaded_names_its_extra() -> None:
    types = ProviderTypes(targets={"diffusers_modal": "no_such_module:X"})
    with pytest.raises(DiscoveryError, match=r"image-gateway\[diffusers\]"):
        types.load("diffusers_modal")


def test_fal_is_there_once_its_key_is_set() -> None:
    found = providers({"fal": ProviderRow(type="fal", key="FAL_KEY")}, FAL_KEY="id:secret")
    assert found.unavailable(route("fal")) is None


@pytest.mark.parametrize("env", [{}, {"FAL_KEY": ""}])
def test_a_missing_key_names_the_variable(env: dict[str, str]) -> None:
    answer = providers({"fal": ProviderRow(type="fal", key="FAL_KEY")}, **env).unavailable(route("fal"))
    assert answer is not None
    assert answer.setting == "FAL_KEY"
    assert "set FAL_KEY" in answer.reason


def test_the_provider_itself_is_asked() -> None:
    rows = {"diffusers": ProviderRow(type="acme", key="K")}
    assert providers(rows, point("acme", "acme_images:Acme"), K="1").unavailable(ROUTE) is None


async def test_closing_closes_what_was_built() -> None:
    rows = {"one": ProviderRow(type="acme"), "two": ProviderRow(type="acme")}
    found: Any = providers(rows, point("acme", "acme_images:Acme"))
    built = found.get("one")
    await found.aclose()
    await found.aclose()
    assert built.closed == 1
    assert found.get("one") is not built


async def test_one_that_cannot_be_closed_leaves_none_open() -> None:
    rows = {name: ProviderRow(type=kind) for name, kind in (("a", "acme"), ("b", "stuck"), ("c", "acme"))}
    points = (point("acme", "acme_images:Acme"), point("stuck", "acme_images:Stuck"))
    found: Any = providers(rows, *points)
    first, _, last = (found.get(name) for name in rows)
    with pytest.raises(RuntimeError, match="stuck"):
        await found.aclose()
    assert (first.closed, last.closed) == (1, 1)


LAZY = """
import sys
from providers.discovery import Providers, provider_types
from registry.load import load_registry
registry = load_registry()
providers = Providers(registry.providers, {}, sys.argv[1], provider_types(()))
asked = [providers.unavailable(route) for model in registry.models.values() for route in model.routes]
heavy = {"torch", "modal", "diffusers", "transformers", "fal_client", "numpy", "PIL"} & sys.modules.keys()
print(len(asked), sorted(heavy))
"""


def test_asking_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAZY, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    routes = sum(len(model.routes) for model in SHIPPED.models.values())
    assert done.stdout.strip() == f"{routes} []"


def test_the_shipped_registry_names_types_that_exist() -> None:
    Providers(SHIPPED.providers, {}, "/nowhere", provider_types(()))
