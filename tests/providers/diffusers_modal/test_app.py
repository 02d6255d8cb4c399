"""`modal deploy` sends Modal what the environment and the pins say, and only the files it needs."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator

import pytest
from support.modal_backend import A10G, L40S, ROOT, deploy, deployed
from support.modal_control_plane import ControlPlane, image_commands

from providers.diffusers_modal import app
from providers.diffusers_modal.deployment import VOLUME_PATH


@pytest.fixture
def plane(tmp_path) -> Iterator[ControlPlane]:
    with deployed(tmp_path) as plane:
        yield plane
        assert plane.violations == []


def test_a_deploy_makes_both_classes_with_the_defaults(plane):
    for name, gpu in ((A10G, "A10G"), (L40S, "L40S")):
        definition = plane.function(name).definition
        assert definition.is_class
        assert definition.resources.gpu_config.gpu_type == gpu
        assert definition.resources.gpu_config.count == 1
        assert definition.autoscaler_settings.max_containers == 1
        assert definition.autoscaler_settings.min_containers == 0
        assert definition.autoscaler_settings.scaledown_window == 300
        assert definition.timeout_secs == 1800
        assert definition.startup_timeout_secs == 600
        # A job is never run a second time behind our back.
        assert definition.retry_policy.retries == 0
        assert set(definition.method_definitions) == {"generate", "generate_many"}
        assert not definition.function_serialized
        (mount,) = definition.volume_mounts
        assert (mount.volume_id, mount.mount_path) == ("vo-diffusers-models", VOLUME_PATH)
    (known,) = plane.state.apps.values()
    assert known.name == "image-gateway-diffusers"
    assert set(known.class_ids) == {A10G, L40S}


def test_fetching_needs_no_gpu(plane):
    definition = plane.function("fetch").definition
    assert definition.resources.gpu_config.gpu_type == ""
    assert [mount.volume_id for mount in definition.volume_mounts] == ["vo-diffusers-models"]


def test_another_deploy_with_other_values_changes_the_same_classes(plane):
    before = {name: plane.function(name).id for name in (A10G, L40S)}
    done = deploy(
        plane,
        DIFFUSERS_A10G_MAX_CONTAINERS="4",
        DIFFUSERS_A10G_GPU="A10",
        DIFFUSERS_L40S_SCALEDOWN="60",
        DIFFUSERS_L40S_TIMEOUT="900",
        DIFFUSERS_LEVERS="channels_last",
        HF_TOKEN="hf_hush",
    )
    assert done.returncode == 0, done.stderr
    assert {name: plane.function(name).id for name in (A10G, L40S)} == before
    small, large = plane.function(A10G).definition, plane.function(L40S).definition
    assert small.resources.gpu_config.gpu_type == "A10"
    assert small.autoscaler_settings.max_containers == 4
    assert small.timeout_secs == 1800
    assert large.autoscaler_settings.scaledown_window == 60
    assert large.autoscaler_settings.max_containers == 1
    assert large.timeout_secs == 900
    # The container reads its own limit again.
    (secret,) = large.secret_ids
    assert plane.state.secrets[secret] == {
        "DIFFUSERS_L40S_TIMEOUT": "900",
        "DIFFUSERS_LEVERS": "channels_last",
        "HF_TOKEN": "hf_hush",
    }
    assert "hf_hush" not in done.stdout + done.stderr


def test_a_wrong_value_stops_the_deploy_with_its_name(plane):
    published = plane.count["AppPublish"]
    done = deploy(plane, DIFFUSERS_A10G_TIMEOUT="soon")
    assert done.returncode != 0
    assert "DIFFUSERS_A10G_TIMEOUT is 'soon'" in done.stdout + done.stderr
    assert plane.count["AppPublish"] == published


def test_the_image_has_the_versions_that_the_tests_run_with(plane):
    tested = set((ROOT / "constraints.txt").read_text().splitlines())
    assert [pin for pin in app.PINS if pin not in tested] == []
    (install,) = [line for line in image_commands(plane) if "pip install accelerate" in line]
    assert install.split("pip install ")[1].split() == list(app.PINS)
    assert any(line.startswith(f"FROM python:{app.PYTHON}.") for line in image_commands(plane))


def test_a_container_gets_nothing_of_the_gateway(plane):
    names = uploaded(plane)
    assert "providers/diffusers_modal/engine.py" in names
    assert [name for name in names if not name.startswith("providers/diffusers_modal/")] == [
        "providers/__init__.py"
    ]
    assert not {name.split("/")[-1] for name in names} & {"provider.py", "remote.py", "local.py", "server.py"}


def test_what_a_container_gets_needs_nothing_but_msgspec_and_pillow_to_be_imported(plane, tmp_path):
    """In a clean process that has the uploaded files and may import nothing else."""
    tree = tmp_path / "tree"
    for name, digest in uploaded(plane).items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plane.state.files[digest])
    modules = [
        name.removesuffix(".py").replace("/", ".")
        for name in uploaded(plane)
        if name.endswith(".py") and not name.endswith(("__init__.py", "/app.py"))
    ]
    assert "providers.diffusers_modal.engine" in modules
    code = f"""
import sys
sys.path[:0] = [{str(tree)!r}, {sysconfig.get_path("purelib")!r}]
allowed = sys.stdlib_module_names | {{"providers", "msgspec", "PIL"}}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Wall())
for name in {modules!r}:
    __import__(name)
print(sys.modules["providers"].__file__)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tree / "providers" / "__init__.py")


def uploaded(plane: ControlPlane) -> dict[str, str]:
    """SHA-256 by path below /root."""
    files = [file for mount in plane.state.mounts.values() for file in mount]
    return {file.filename.removeprefix("/root/"): file.sha256_hex for file in files}
