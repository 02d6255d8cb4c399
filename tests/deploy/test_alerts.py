"""The alerts: each expression makes sense, each alert has its page, each is tested both ways."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rich_click as click
import yaml
from support.alert_rules import PROMETHEUS, ROOT, alerts, checked, read_rules

from gateway.cli.root import cli

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def section() -> str:
    """The part of the operations page that is about alerts."""
    return re.split(r"^## ", PAGE.split("\n## Alerts\n", 1)[1], maxsplit=1, flags=re.M)[0]


def test_every_expression_names_what_there_is() -> None:
    checker, results = checked(read_rules())
    assert checker.faults == []
    assert len(results) == len(read_rules()) > 30


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("gateway_job", "there is no metric gateway_job"),
        ('gateway_jobs{state="queued"}', "gateway_jobs has no label state"),
        ('gateway_jobs{status=~"queued|waiting"}', "gateway_jobs never has status=waiting"),
        ('rate(gateway_attempts_total{outcome="no_such_code"}[5m])', "gateway_attempts_total never has outcome=no_such_code"),
        ("max by (queue) (gateway_jobs)", "max by ['queue'] of what has ['instance', 'job', 'model', 'provider', 'status']"),
        ("sum by (job) (rate(gateway_images_total[5m]))", "sum of gateway_images_total, which is the same from each process"),
        ("gateway_images_total > 1", "gateway_images_total is a counter: rated=False"),
        ("rate(gateway_holds[5m])", "gateway_holds is a gauge: rated=True"),
        ("max by (job) (gateway_jobs) / max by (model) (gateway_jobs)", "/: ['job'] never match ['model']"),
        ("gateway_holds and on (model) gateway_jobs", "and on ['model'] of ['instance', 'job'] and ['instance', 'job', 'model', 'provider', 'status']"),
        ("histogram_quantile(0.9, sum by (job) (rate(gateway_job_seconds_bucket[5m])))", "histogram_quantile() of what has no le"),
    ],
)  # fmt: skip
def test_the_check_finds(expression: str, fault: str) -> None:
    checker, _ = checked([{"record": "x", "expr": expression}])
    assert checker.faults == [fault]


def test_texts_name_labels_that_the_alert_has() -> None:
    _, results = checked(read_rules())
    for name, rule in alerts().items():
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
        assert "job" in used, name
        assert used <= results[name], name


def test_each_alert_says_how_bad_it_is_and_what_to_read() -> None:
    for name, rule in alerts().items():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_the_page_has_every_alert_and_no_other_in_the_same_order() -> None:
    assert re.findall(r"^### (.+)$", section(), re.M) == list(alerts())


def test_the_page_says_of_each_how_bad_it_is_what_to_look_at_and_what_to_do() -> None:
    for name, text in zip(alerts(), re.split(r"^### .+$", section(), flags=re.M)[1:], strict=True):
        assert f"*{alerts()[name]['labels']['severity'].capitalize()}.*" in text, name
        assert "\n- Look: " in text, name
        assert "\n- Do: " in text, name


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.+)$", PAGE, re.M)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", section()))
    assert len(links) > 10
    assert links <= headings


def test_every_command_of_the_page_is_one() -> None:
    missing = set()
    told = [" ".join(text.split()) for text in re.findall(r"`gateway ([a-z][^`]*)`", section())]
    assert len(told) > 30
    for command in told:
        group: click.Command = cli
        for word in command.split():
            if not isinstance(group, click.Group) or word.startswith("-") or not word.islower():
                break
            if word not in group.commands:
                missing.add(word)
                break
            group = group.commands[word]
        options = {name for parameter in group.params for name in parameter.opts}
        asked = {word for word in command.split() if word.startswith("--") and word != "--help"}
        if not missing & set(command.split()):
            assert asked <= options, command
    assert not missing


def written() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text("utf-8"))
    return found


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written()["tests"]
    return found


def test_what_is_recorded_is_there_before_the_alerts_are_looked_at() -> None:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]
    assert written()["group_eval_order"] == [group["name"] for group in groups]


def test_each_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    checks = [check for case in cases() for check in case.get("alert_rule_test", ())]
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == set(alerts())
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == set(alerts())


def test_each_process_is_read_under_the_job_that_the_alerts_name() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    assert config["rule_files"] == ["alerts.yaml"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["image-gateway"]
    named = set(re.findall(r'job="([^"]+)"', (PROMETHEUS / "alerts.yaml").read_text("utf-8")))
    assert named == {"image-gateway"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's prometheus) is not at hand")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yaml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "alerts_test.yaml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    promtool(PROMETHEUS, *arguments)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's prometheus) is not at hand")
def test_a_rate_over_the_largest_of_several_counters_would_be_found(tmp_path: Path) -> None:
    rules = (PROMETHEUS / "alerts.yaml").read_text("utf-8")
    wrong, changed = re.subn(
        r"max by \(([^)]+)\) \(rate\((\w+)\[5m\]\)\)", r"rate((max by (\1) (\2))[5m:1m])", rules
    )
    assert changed == 4
    (tmp_path / "alerts.yaml").write_text(wrong, "utf-8")
    case = next(case for case in cases() if "goes away" in case["name"])
    tests = {**written(), "tests": [case]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), "utf-8")
    with pytest.raises(AssertionError, match="job:gateway_provider_cost_micros:rate5m"):
        promtool(tmp_path, "test", "rules", "tests.yaml")


def promtool(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
