"""The five top-level names are ours alone, and nobody adds one by accident."""

import tomllib
from importlib import metadata
from pathlib import Path

PACKAGES = {"gateway", "providers", "registry", "templates", "billing"}
ROOT = Path(__file__).parent.parent


def test_no_installed_package_has_one_of_our_names() -> None:
    owners = metadata.packages_distributions()
    for name in PACKAGES:
        assert set(owners.get(name, ["image-gateway"])) == {"image-gateway"}


def test_the_wheel_has_the_five_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_code == PACKAGES


def test_every_dependency_is_pinned_without_an_address() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(line.count("==") == 1 and "://" not in line and " " not in line for line in pins)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {d.split(">")[0].split("<")[0].split("[")[0].lower().replace("_", "-") for d in wanted}
    assert names - {"image-gateway"} <= pinned
