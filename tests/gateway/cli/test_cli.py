"""The command line: data on stdout, messages on stderr, an exit code that says what happened."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli.errors import known_failure
from gateway.cli.follow import failure
from gateway.cli.params import read_params
from gateway.cli.root import cli
from gateway.client import GatewayFailure
from gateway.settings import SETTINGS, SettingsError

COMMANDS = [
    [],
    ["serve"],
    ["worker"],
    ["engine"],
    ["migrate"],
    ["health"],
    ["generate"],
    ["models"],
    ["registry"],
    ["registry", "check"],
    ["registry", "import"],
    ["config"],
    ["doctor"],
    ["backup"],
    ["restore"],
]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The installed command in a process of its own, with no setting but the data folder."""

    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("GATEWAY_", "FAL_", "MODAL_", "DIFFUSERS_"))
        }
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env={**clean, "GATEWAY_DATA_DIR": str(tmp_path / "data"), **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(command, flag) -> None:
    code, out, err = invoke(*command, flag)
    assert (code, err) == (0, "")
    assert "Usage" in out


def test_version() -> None:
    assert __version__ in invoke("--version")[1]


def test_models(run) -> None:
    done = run("models")
    assert (done.returncode, done.stderr) == (0, "")
    line = next(line for line in done.stdout.splitlines() if line.startswith("flux-dev"))
    assert "0.03/MP" in line
    assert "FAL_KEY" in line


def test_models_as_json(run) -> None:
    done = run("models", "--json")
    models = {m["id"]: m for m in json.loads(done.stdout)["models"]}
    assert models["flux-dev"]["price"] == {"per_megapixel": 0.03, "round": "up", "currency": "USD"}
    assert models["face-swap"]["inputs"]["required"] == ["image_url", "target_image_url"]
    assert models["flux-dev"]["available"] is False
    assert done.stderr == ""


def test_a_registry_that_is_good(run) -> None:
    done = run("registry", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fal-ai/flux/dev" in done.stdout
    assert "good" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("place", ["argument", "setting"])
def test_a_registry_that_is_bad(run, tmp_path, place) -> None:
    shipped = (Path(__file__).parents[3] / "registry" / "models.yaml").read_text("utf-8")
    (tmp_path / "bad.yaml").write_text(shipped.replace("    tasks: [face-swap]\n", "    taks: [face-swap]\n"))
    bad = str(tmp_path / "bad.yaml")
    done = run("registry", "check", bad) if place == "argument" else run("models", GATEWAY_REGISTRY=bad)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    number = next(n for n, text in enumerate(Path(bad).read_text().splitlines(), 1) if "taks" in text)
    assert f"{bad}:{number}: models.face-swap.taks" in line or f"{bad}:{number - 2}: models.face-swap" in line


def test_a_registry_that_is_not_there(run) -> None:
    done = run("registry", "check", "none.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_brackets_of_a_registry_are_no_markup(run, tmp_path) -> None:
    shipped = (Path(__file__).parents[3] / "registry" / "models.yaml").read_text("utf-8")
    (tmp_path / "odd.yaml").write_text(
        shipped.replace("FLUX.1 dev with your own LoRA", '"[/x] and [red]these[/red]"')
    )
    done = run("models", GATEWAY_REGISTRY=str(tmp_path / "odd.yaml"))
    assert done.returncode == 0, done.stderr
    assert "[/x] and [red]these[/red]" in done.stdout


def test_config(run) -> None:
    done = run("config", "--json", FAL_KEY="hush", GATEWAY_PORT="9000")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [s.name for s in SETTINGS]
    assert (rows["GATEWAY_PORT"]["value"], rows["GATEWAY_PORT"]["origin"]) == ("9000", "environment")
    assert (rows["FAL_KEY"]["value"], rows["GATEWAY_HOST"]["origin"]) == ("(set)", "default")


def test_config_hides_secrets(run) -> None:
    secrets = {s.name: "hush" for s in SETTINGS if s.secret} | {
        "GATEWAY_DATABASE_URL": "sqlite:///hush",
        "GATEWAY_SECRET": "hush" * 8,
        "GATEWAY_METRICS_TOKEN": "hush" * 4,
        "GATEWAY_SMTP_URL": "smtp://a:hush@b.org",
        "GATEWAY_EMAIL_FROM": "a@b.org",
    }
    done = run("config", GATEWAY_PUBLIC_URL="http://[a::1]:8000", **secrets)
    assert done.returncode == 0
    assert "hush" not in done.stdout + done.stderr
    assert "http://[a::1]:8000" in done.stdout


@pytest.mark.parametrize(
    "command", [["serve"], ["config"], ["models"], ["generate", "x"], ["registry", "check"]]
)
@pytest.mark.parametrize(("name", "value"), [("GATEWAY_PORT", "many"), ("GATEWAY_PROT", "1")])
def test_a_bad_setting_is_one_line(run, command, name, value) -> None:
    done = run(*command, **{name: value})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert name in line


@pytest.mark.parametrize(
    "arguments",
    [[], ["x", "-p", "seed"], ["x", "--seed", "many"], ["x", "--nope"], ["x", "y"], ["x", "-n", "1.5"]],
)
def test_wrong_usage_of_generate(run, arguments) -> None:
    done = run("generate", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "no gateway runs here" not in done.stderr


def test_a_command_that_is_not_there(run) -> None:
    done = run("paint")
    assert (done.returncode, done.stdout) == (2, "")


def test_generate_with_a_bad_registry_is_one_line(run, tmp_path) -> None:
    done = run(
        "generate", "x", "--estimate", GATEWAY_REGISTRY="none.yaml", GATEWAY_PORT="1", GATEWAY_ENGINE="h:1"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_params_are_json_or_text() -> None:
    pairs = ("seed=7", "style=oil", "a=b=c", 'loras=[{"url": "u"}]', "x=NaN", "empty=", "on=true")
    assert read_params(pairs) == {
        "seed": 7, "style": "oil", "a": "b=c", "loras": [{"url": "u"}], "x": "NaN", "empty": "", "on": True,
    }  # fmt: skip


def test_a_param_without_a_value() -> None:
    with pytest.raises(click.UsageError, match="NAME=VALUE"):
        read_params(("seed",))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GatewayFailure({"code": "not_found", "detail": "d"}, 404), 4),
        (GatewayFailure({"code": "insufficient_funds", "detail": "d"}, 402), 5),
        (GatewayFailure({"code": "invalid_inputs", "detail": "d"}, 422), 2),
        (GatewayFailure({"code": "provider_failed", "detail": "d"}, 502), 7),
        (GatewayFailure({"code": "content_policy", "detail": "d"}, 422), 7),
        (GatewayFailure({"code": "internal_error", "detail": "d"}, 500), 1),
        (failure({"status": "unknown", "jobId": "job_1"}), 8),
        (failure({"status": "failed", "error": {"code": "provider_failed", "message": "m"}}), 7),
        (SettingsError("x"), 1),
        (httpx.ConnectError("x"), 1),
        (PermissionError("x"), 1),
    ],
)
def test_exit_codes(error, code) -> None:
    found = known_failure(error)
    assert found is not None
    assert found[1] == code
    assert found[0]


def test_faults_have_a_line_each() -> None:
    faults = [{"pointer": "/inputs/a", "message": "m", "allowed": "1"}, {"pointer": "/b", "message": "n"}]
    message, _ = known_failure(
        GatewayFailure({"code": "invalid_inputs", "detail": "d", "errors": faults}, 422)
    )
    assert message.splitlines() == ["d (invalid_inputs)", "  /inputs/a: m [1]", "  /b: n"]


def test_a_job_that_goes_on_is_named() -> None:
    assert "job_1" in str(failure({"status": "unknown", "jobId": "job_1"}))


def test_a_command_that_lacks_a_key_is_told_how_to_send_one() -> None:
    message, code = known_failure(GatewayFailure({"code": "authentication_required", "detail": "d"}, 401))
    assert message.splitlines()[0] == "d (authentication_required)"
    assert "GATEWAY_API_KEY" in message.splitlines()[1]
    assert code == 2


def spent(**budget: object) -> str:
    """What a command says when there is too little: of a budget, or of the balance."""
    problem: dict[str, object] = {"code": "insufficient_funds", "detail": "d", "missingMicros": 20_000}
    if budget:
        problem["budget"] = {
            "period": "month", "limitMicros": 100_000, "startsAnew": "2026-12-01T00:00:00.000Z", **budget
        }  # fmt: skip
    found = known_failure(GatewayFailure(problem, 402))
    assert found is not None
    assert found[1] == 5
    assert "--allow-downgrade" in found[0].splitlines()[2]
    return found[0].splitlines()[1]


def test_who_has_too_little_is_told_how_much_and_who_can_help() -> None:
    assert spent() == "  an admin enters a payment by `gateway account topup ACCOUNT 0.02`"
    assert spent(kind="account", subject=None) == (
        "  it starts anew at 2026-12-01T00:00:00.000Z; an admin raises it by "
        "`gateway account set-budget ACCOUNT 0.12`"
    )
    assert spent(kind="key", subject="k1", period="all", startsAnew=None) == (
        "  an admin raises it by `gateway account set-budget ACCOUNT 0.12 --key k1 --period all`, or its owner "
        "by PUT /api/billing/budgets"
    )
    assert "--user 'Ann; rm'" in spent(kind="user", subject="Ann; rm")


@pytest.mark.parametrize(
    "arguments",
    [["acc_1", "x"], ["acc_1", "1000001"], ["acc_1", "1", "--key", "a", "--each-user"], ["acc_1"]],
)
def test_wrong_usage_of_set_budget_asks_no_gateway(tmp_path, monkeypatch, arguments) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    code, out, _ = invoke("account", "set-budget", *arguments)
    assert (code, out) == (2, "")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["x", "$5", "0", "1.0000001", "NaN", "1e12", "1e999999999"])
@pytest.mark.parametrize(
    "command", [["account", "create", "Ann", "--balance"], ["account", "topup", "acc_1"]]
)
def test_what_is_no_amount_is_wrong_usage_and_asks_no_gateway(tmp_path, monkeypatch, command, text) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    code, out, err = invoke(*command, text)
    assert (code, out) == (2, "")
    assert f"{text!r} is no amount. Give US dollars" in err
    assert not (tmp_path / "data").exists()


MODAL = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x", "MODAL_SERVER_URL": "http://127.0.0.1:1"}
LEVERS = "some of channels_last, compile, autotune"


@pytest.mark.parametrize(
    ("command", "env", "said"),
    [
        (
            "backend deploy",
            {"DIFFUSERS_A10G_TIMEOUT": "abc"},
            "DIFFUSERS_A10G_TIMEOUT is 'abc'; it is a whole",
        ),
        ("backend deploy", {"DIFFUSERS_L40S_GPU": "a b"}, "DIFFUSERS_L40S_GPU is 'a b'; it is a GPU"),
        ("backend deploy", {"DIFFUSERS_LEVERS": "warp"}, LEVERS),
        ("engine", {"DIFFUSERS_LEVERS": "warp"}, LEVERS),
        ("serve", {"DIFFUSERS_LEVERS": "compile,warp"}, LEVERS),
        ("generate x", {"DIFFUSERS_LEVERS": "warp"}, LEVERS),
    ],
)
def test_a_bad_setting_of_an_engine_is_one_line_before_anything_starts(
    run, tmp_path, command, env, said
) -> None:
    done = run(*command.split(), **MODAL, **env)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "data" / "engine.json").exists()


@pytest.mark.slow
def test_a_modal_that_is_away_is_one_line_with_what_to_look_at(run) -> None:
    done = run("backend", "deploy", **MODAL)
    assert (done.returncode, done.stdout) == (7, "")
    (line,) = done.stderr.splitlines()
    assert "See that MODAL_SERVER_URL (http://127.0.0.1:1) is right" in line


def test_a_fault_of_ours_has_no_name() -> None:
    assert known_failure(KeyError("x")) is None
