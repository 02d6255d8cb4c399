"""The chart's values: each is documented, and a value that cannot be used is refused."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from support.chart import CHART, SETS, values_of

from gateway import __version__
from gateway.setting_table import SETTINGS

TEXT = (CHART / "values.yaml").read_text("utf-8")
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))


def leaves(values: dict[str, Any], schema: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each value by its path: a mapping whose members the schema names has members, any other is a value."""
    for key, value in values.items():
        inner = schema["properties"][key]
        if "properties" in inner:
            yield from leaves(value, inner, f"{before}{key}.")
        else:
            yield before + key, value


def comments() -> dict[str, str]:
    """What stands above each value, by its path."""
    found, path, above = {}, list[str](), list[str]()
    for line in TEXT.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        if line.lstrip().startswith("# "):
            above.append(line.lstrip()[2:])
        elif match := re.match(r" *([A-Za-z]+):", line):
            path = [*path[:depth], match[1]]
            if above:
                found[".".join(path)] = " ".join(above)
            above = []
    return found


def table() -> list[list[str]]:
    """The rows of the README's table of values."""
    text = (CHART / "README.md").read_text("utf-8").split("\n## Values\n", 1)[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_values_are_what_the_schema_says() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA, jsonschema.Draft7Validator)


@pytest.mark.parametrize("name", SETS)
def test_the_sets_of_values_are_too(name: str) -> None:
    jsonschema.validate(values_of(name), SCHEMA, jsonschema.Draft7Validator)


def test_the_schema_names_each_value_and_no_other() -> None:
    def closed(schema: dict[str, Any], values: dict[str, Any]) -> None:
        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) - {"global"} == set(values)
        for key, inner in schema["properties"].items():
            if "properties" in inner:
                closed(inner, values[key])

    closed(SCHEMA, VALUES)


def test_each_value_has_a_comment_and_is_in_the_table_with_it() -> None:
    expected = [
        [f"`{path}`", f"`{json.dumps(value)}`", comments()[path]] for path, value in leaves(VALUES, SCHEMA)
    ]
    assert len(expected) > 80
    assert table() == expected


def test_no_secret_is_taken_for_a_setting() -> None:
    refused = SCHEMA["properties"]["config"]["propertyNames"]["not"]["enum"]
    secret = {setting.name for setting in SETTINGS if setting.secret}
    assert len(secret) > 5
    assert secret <= set(refused)
    assert set(refused) <= {setting.name for setting in SETTINGS}
    assert len(set(refused)) == len(refused)


@pytest.mark.parametrize("name", ["GATEWAY_SECRET", "GATEWAY_PORT", "GATEWAY_RUN_JOBS", "not a name"])
def test_what_the_chart_sets_itself_is_refused(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"config": {name: "x"}}, SCHEMA, jsonschema.Draft7Validator)
    jsonschema.validate({"config": {"GATEWAY_LOG_LEVEL": "debug"}}, SCHEMA, jsonschema.Draft7Validator)


def test_the_chart_has_the_version_of_what_it_installs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_alerts_and_dashboard_are_those_of_the_deploy_folder() -> None:
    deploy = CHART.parents[1]
    for name, original in (
        ("alerts.yaml", deploy / "prometheus" / "alerts.yaml"),
        ("image-gateway.json", deploy / "grafana" / "image-gateway.json"),
    ):
        assert (CHART / "files" / name).resolve() == original.resolve()
        assert original.stat().st_size > 1000
