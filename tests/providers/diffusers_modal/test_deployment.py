"""The environment decides how each GPU tier is deployed, and a wrong value is named, not used."""

import pytest

from providers.diffusers_modal.deployment import SettingError, TierSettings, class_name, tier_settings


def test_what_is_not_set_has_the_documented_default():
    settings = tier_settings({}, "A10G")
    assert settings == TierSettings(gpu="A10G", max_containers=1, scaledown_s=300, timeout_s=1800)
    assert tier_settings({"DIFFUSERS_L40S_TIMEOUT": " "}, "L40S").gpu == "L40S"


def test_each_tier_reads_its_own_variables():
    env = {
        "DIFFUSERS_A10G_GPU": "A10",
        "DIFFUSERS_A10G_MAX_CONTAINERS": "4",
        "DIFFUSERS_A10G_SCALEDOWN": "60",
        "DIFFUSERS_A10G_TIMEOUT": "900",
        "DIFFUSERS_L40S_GPU": "L40S:2",
    }
    assert tier_settings(env, "A10G") == TierSettings(
        gpu="A10", max_containers=4, scaledown_s=60, timeout_s=900
    )
    assert tier_settings(env, "L40S").gpu == "L40S:2"
    assert tier_settings(env, "L40S").max_containers == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DIFFUSERS_A10G_MAX_CONTAINERS", "0", "a whole number from 1 to 1000"),
        ("DIFFUSERS_A10G_MAX_CONTAINERS", "two", "a whole number from 1 to 1000"),
        ("DIFFUSERS_A10G_SCALEDOWN", "1", "a whole number of seconds from 2 to 3600"),
        ("DIFFUSERS_A10G_SCALEDOWN", "3601", "from 2 to 3600"),
        ("DIFFUSERS_A10G_TIMEOUT", "-5", "a whole number of seconds from 10 to 86400"),
        ("DIFFUSERS_A10G_TIMEOUT", "1e3", "from 10 to 86400"),
        ("DIFFUSERS_A10G_TIMEOUT", "\u0661\u0662", "from 10 to 86400"),
        ("DIFFUSERS_A10G_TIMEOUT", "9" * 5000, "from 10 to 86400"),
        ("DIFFUSERS_A10G_GPU", "A10G:9", "a GPU of Modal's"),
        ("DIFFUSERS_A10G_GPU", "a gpu", "a GPU of Modal's"),
    ],
)
def test_a_wrong_value_is_named(name, value, words):
    with pytest.raises(SettingError, match=words) as caught:
        tier_settings({name: value}, "A10G")
    assert str(caught.value).startswith(f"{name} is ")


def test_the_names_of_the_classes_are_the_specified_ones():
    assert class_name("A10G") == "DiffusersBackend_A10G"
    assert class_name("L40S") == "DiffusersBackend_L40S"
