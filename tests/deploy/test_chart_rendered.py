"""What the chart makes, for several sets of values: Kubernetes takes it, and its parts find each other."""

import re
from typing import Any

import kubernetes_validate
import pytest
import rich_click as click
import yaml
from support.alert_rules import checked, read_rules
from support.chart import (
    CHART,
    SETS,
    Manifest,
    container_of,
    environment,
    helm,
    named,
    of_kind,
    pod_labels,
    pod_of,
    refusal,
    rendered,
    selects,
    values_of,
    workloads,
)
from support.metric_table import OTHERS, our_metrics, series
from support.promql_check import Checker

from gateway.cli.root import cli
from gateway.settings import SETTINGS, load_settings

pytestmark = pytest.mark.slow

NOT_KUBERNETES = ("keda.sh/", "monitoring.coreos.com/")

sets = pytest.mark.parametrize("name", SETS)


@sets
def test_helm_finds_nothing_wrong(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", str(CHART / "ci" / f"{name}-values.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@sets
def test_kubernetes_takes_each_manifest(name: str) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in rendered(name):
        if not manifest["apiVersion"].startswith(NOT_KUBERNETES):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_is_found() -> None:
    wrong = yaml.safe_load(
        yaml.safe_dump(named(rendered("defaults"), "Deployment", "images-image-gateway-worker"))
    )
    container_of(wrong)["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_each_set_makes_what_it_says() -> None:
    def parts(name: str) -> set[str]:
        return {
            f"{m['kind']} {m['metadata']['name'].removeprefix('images-image-gateway')}"
            for m in rendered(name)
        }

    always = {"ConfigMap ", "Deployment -gateway", "Service -gateway"}
    assert parts("minimal") == always | {"Secret "}
    assert parts("defaults") == parts("minimal") | {
        "ServiceAccount ", "Deployment -worker", "Service -worker", "StatefulSet -engine", "Service -engine",
        "NetworkPolicy -engine", "PodDisruptionBudget -gateway", "PodDisruptionBudget -worker",
        "ConfigMap -migrate", "Secret -migrate", "Job -migrate",
    }  # fmt: skip
    assert parts("existing-secret") == parts("defaults") - {
        "Secret ",
        "Secret -migrate",
        "NetworkPolicy -engine",
    } | {"ServiceMonitor "}
    assert parts("modal") == parts("defaults") - {
        "StatefulSet -engine", "Service -engine", "NetworkPolicy -engine"
    } | {"HorizontalPodAutoscaler -worker"}  # fmt: skip
    assert parts("everything") == parts("defaults") | {
        "ConfigMap -registry", "ConfigMap -dashboard", "HorizontalPodAutoscaler -gateway", "ScaledObject -worker",
        "Ingress -gateway", "ServiceMonitor ", "PrometheusRule ",
    }  # fmt: skip


# -- pods ------------------------------------------------------------------------------------------------------


@sets
def test_pods_have_no_rights_that_they_do_not_need(name: str) -> None:
    for workload in workloads(rendered(name)):
        pod, container = pod_of(workload), container_of(workload)
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        # A Service `gateway` would make GATEWAY_PORT=tcp://... of itself, which stops the start.
        assert pod["enableServiceLinks"] is False


@sets
def test_pods_can_write_where_the_gateway_writes_and_have_resources(name: str) -> None:
    for workload in workloads(rendered(name)):
        container, spec = container_of(workload), workload["spec"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = [v["name"] for v in pod_of(workload).get("volumes", ())]
        volumes += [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())]
        assert {"/data", "/tmp"} <= mounts.keys()
        assert sorted(mounts.values()) == sorted(volumes)
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@sets
def test_pods_are_asked_how_they_are(name: str) -> None:
    for workload in of_kind(rendered(name), "Deployment", "StatefulSet"):
        container = container_of(workload)
        asked = [container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]
        if workload["kind"] == "StatefulSet":
            assert all(probe["exec"]["command"] == ["gateway", "health", "--engine"] for probe in asked)
        else:
            paths = [probe["httpGet"]["path"] for probe in asked]
            assert paths == ["/health/live", "/health/live", "/health/ready"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert {probe["httpGet"]["port"] for probe in asked} == ports.keys()
            assert ports == {"http": int(environment(rendered(name), workload)["GATEWAY_PORT"])}


@sets
def test_pods_are_given_longer_than_a_stop_takes(name: str) -> None:
    manifests = rendered(name)
    for workload in of_kind(manifests, "Deployment"):
        grace = int(environment(manifests, workload)["GATEWAY_SHUTDOWN_GRACE_S"])
        before = (
            container_of(workload)
            .get("lifecycle", {})
            .get("preStop", {})
            .get("exec", {})
            .get("command", [0])[-1]
        )
        assert pod_of(workload)["terminationGracePeriodSeconds"] >= grace + int(before) + 10


def test_a_gateway_leaves_the_service_before_it_stops() -> None:
    gateway = named(rendered("defaults"), "Deployment", "images-image-gateway-gateway")
    assert container_of(gateway)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


# -- settings --------------------------------------------------------------------------------------------------


@sets
def test_the_gateway_takes_the_settings_that_its_pods_have(name: str) -> None:
    manifests = rendered(name)
    known = {setting.name for setting in SETTINGS}
    for workload in workloads(manifests):
        env = environment(manifests, workload)
        assert {key for key in env if key.startswith("GATEWAY_")} <= known
        if workload["kind"] == "StatefulSet":
            continue
        if "existingSecret" in values_of(name):
            secret = {"GATEWAY_DATABASE_URL": "postgresql://db/gateway", "GATEWAY_SECRET": "0" * 32}
            env = {**secret, **env}
        settings = load_settings(env)
        assert settings.auth == "required"
        assert settings.data_dir.as_posix() == "/data"
        assert settings.database_url.startswith("postgresql://")


def test_who_runs_the_jobs() -> None:
    def told(name: str, part: str) -> dict[str, str]:
        workload = named(rendered(name), "Deployment", f"images-image-gateway-{part}")
        return environment(rendered(name), workload)

    assert told("defaults", "gateway")["GATEWAY_RUN_JOBS"] == "no"
    assert told("minimal", "gateway")["GATEWAY_RUN_JOBS"] == "yes"
    assert "GATEWAY_RUN_JOBS" not in told("defaults", "worker")
    assert told("defaults", "worker")["GATEWAY_JOBS_AT_ONCE"] == "200"
    assert told("everything", "gateway")["GATEWAY_WORKERS"] == "2"
    assert told("defaults", "gateway")["GATEWAY_MIGRATE"] == "step"
    assert told("minimal", "gateway")["GATEWAY_MIGRATE"] == "start"


def test_where_the_engine_and_the_pictures_are() -> None:
    def told(name: str, *settings: str) -> dict[str, str]:
        data: dict[str, str] = named(rendered(name, *settings), "ConfigMap", "images-image-gateway")["data"]
        return data

    assert told("defaults")["GATEWAY_ENGINE"] == "images-image-gateway-engine:7861"
    assert told("modal")["GATEWAY_ENGINE"] == "none"
    elsewhere = told("modal", "engine.address=gpu-box:7861", "secrets.GATEWAY_ENGINE_TOKEN=x")
    assert elsewhere["GATEWAY_ENGINE"] == "gpu-box:7861"
    assert told("defaults")["GATEWAY_STORAGE_URL"] == "s3://pictures/gateway"
    assert told("minimal")["GATEWAY_STORAGE_URL"] == "file:///pictures"
    gateway = named(rendered("minimal"), "Deployment", "images-image-gateway-gateway")
    assert {"name": "pictures", "mountPath": "/pictures"} in container_of(gateway)["volumeMounts"]
    assert {"name": "pictures", "persistentVolumeClaim": {"claimName": "pictures"}} in pod_of(gateway)[
        "volumes"
    ]


def test_the_engine_listens_where_its_service_leads_and_knows_no_other_secret() -> None:
    manifests = rendered("everything")
    engine = named(manifests, "StatefulSet", "images-image-gateway-engine")
    service = named(manifests, "Service", "images-image-gateway-engine")
    (port,) = container_of(engine)["ports"]
    address = named(manifests, "ConfigMap", "images-image-gateway")["data"]["GATEWAY_ENGINE"]
    assert address == f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    arguments = container_of(engine)["args"]
    assert arguments[arguments.index("--port") + 1] == str(port["containerPort"])
    env = environment(manifests, engine)
    assert env["GATEWAY_ENGINE"] == f"127.0.0.1:{port['containerPort']}"
    assert env.keys() == {
        "GATEWAY_ENGINE_TOKEN",
        "HF_TOKEN",
        "GATEWAY_ENGINE",
        "DIFFUSERS_LEVERS",
    }
    assert engine["spec"]["replicas"] == 1


@sets
def test_each_command_is_one_with_these_options(name: str) -> None:
    for workload in workloads(rendered(name)):
        container = container_of(workload)
        assert "command" not in container  # the image's: gateway
        word, *rest = container["args"]
        command = cli.commands[word]
        with click.Context(command) as context:
            assert command.parse_args(context, list(rest)) == []


@sets
def test_no_secret_is_where_everybody_may_look(name: str) -> None:
    secrets = [str(value) for value in values_of(name).get("secrets", {}).values()]
    for manifest in rendered(name):
        if manifest["kind"] != "Secret":
            text = yaml.safe_dump(manifest)
            assert not [secret for secret in secrets if secret in text], manifest["metadata"]["name"]


@sets
def test_whatever_a_pod_refers_to_is_there(name: str) -> None:
    manifests, values = rendered(name), values_of(name)
    there = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    outside = {
        ("Secret", values.get("existingSecret")),
        ("Secret", "s3"),
        ("Secret", "pull"),
        ("PersistentVolumeClaim", values["storage"].get("existingClaim")),
        ("ServiceAccount", "default"),
    }
    for workload in workloads(manifests):
        for reference in references(pod_of(workload)):
            assert reference in there | outside, reference


def references(pod: Manifest) -> set[tuple[str, str]]:
    """The objects that a pod needs."""
    found = {("ServiceAccount", pod.get("serviceAccountName", "default"))}
    found |= {("Secret", pull["name"]) for pull in pod.get("imagePullSecrets", ())}
    for container in pod["containers"]:
        for source in container.get("envFrom", ()):
            found |= {("ConfigMap", r["name"]) for key, r in source.items() if key == "configMapRef"}
            found |= {("Secret", r["name"]) for key, r in source.items() if key == "secretRef"}
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            found |= {("Secret", reference["name"])} if reference else set()
    for volume in pod["volumes"]:
        if "configMap" in volume:
            found.add(("ConfigMap", volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            found.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    return found


# -- what a change does ----------------------------------------------------------------------------------------


def annotations(part: str, *settings: str) -> dict[str, str]:
    kind = "StatefulSet" if part == "engine" else "Deployment"
    workload = named(rendered("everything", *settings), kind, f"images-image-gateway-{part}")
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["annotations"]
    return found


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("config.GATEWAY_LOG_LEVEL=debug", {"gateway", "worker"}),
        ("publicUrl=https://other.example.org", {"gateway", "worker"}),
        ("registry=models: {}", {"gateway", "worker"}),
        ("secrets.FAL_KEY=another", {"gateway", "worker"}),
        ("secrets.GATEWAY_ENGINE_TOKEN=another", {"gateway", "worker", "engine"}),
        ("gateway.service.port=81", set()),
        ("metrics.dashboard.enabled=false", set()),
    ],
)
def test_pods_start_anew_when_what_they_read_has_changed(change: str, parts: set[str]) -> None:
    every = ("gateway", "worker", "engine")
    assert {part for part in every if annotations(part) != annotations(part, change)} == parts


def test_pods_start_anew_with_another_secret_of_yours() -> None:
    def checksums(*settings: str) -> list[str]:
        found = of_kind(rendered("existing-secret", *settings), "Deployment", "StatefulSet")
        return [m["spec"]["template"]["metadata"]["annotations"]["checksum/secret"] for m in found]

    before, after = checksums(), checksums("existingSecretVersion=4")
    assert len(before) == 3
    assert all(one != other for one, other in zip(before, after, strict=True))


# -- parts find each other ---------------------------------------------------------------------------------------


@sets
def test_selectors_find_the_pods_of_one_part(name: str) -> None:
    manifests = rendered(name)
    pods = {w["metadata"]["name"]: pod_labels(w) for w in workloads(manifests)}
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "PodDisruptionBudget"):
        found = [pod for pod, labels in pods.items() if selects(manifest["spec"]["selector"], labels)]
        assert found == [manifest["metadata"]["name"]]
    for service in of_kind(manifests, "Service"):
        found = [pod for pod, labels in pods.items() if service["spec"]["selector"].items() <= labels.items()]
        assert found == [service["metadata"]["name"]]
        (workload,) = [w for w in workloads(manifests) if w["metadata"]["name"] == found[0]]
        ports = {port["name"] for port in container_of(workload)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@sets
def test_what_scales_names_what_is_there_and_says_how_many_instead(name: str) -> None:
    manifests, scaled = rendered(name), set()
    for manifest in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target, spec = manifest["spec"]["scaleTargetRef"], manifest["spec"]
        assert (target["apiVersion"], target["kind"]) == ("apps/v1", "Deployment")
        named(manifests, "Deployment", target["name"])
        scaled.add(target["name"])
        fewest, most = (spec.get(f"{end}Replicas", spec.get(f"{end}ReplicaCount")) for end in ("min", "max"))
        assert 1 <= fewest < most
    for deployment in of_kind(manifests, "Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)


def test_the_ingress_leads_to_the_gateways() -> None:
    manifests = rendered("everything")
    (ingress,) = of_kind(manifests, "Ingress")
    for rule in ingress["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        service = named(manifests, "Service", path["backend"]["service"]["name"])
        assert path["backend"]["service"]["port"]["name"] in [p["name"] for p in service["spec"]["ports"]]
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["images.example.org", "images.internal"]
    (from_url,) = of_kind(rendered("existing-secret", "ingress.enabled=true"), "Ingress")
    assert [rule["host"] for rule in from_url["spec"]["rules"]] == ["images.example.org"]


def test_nobody_else_reaches_the_engine() -> None:
    manifests = rendered("defaults")
    (policy,) = of_kind(manifests, "NetworkPolicy")
    engine = named(manifests, "StatefulSet", "images-image-gateway-engine")
    assert selects(policy["spec"]["podSelector"], pod_labels(engine))
    ((rule,),) = [policy["spec"]["ingress"]]
    let_in = {
        w["metadata"]["name"].rpartition("-")[2]
        for w in workloads(manifests)
        if selects(rule["from"][0]["podSelector"], pod_labels(w))
    }
    assert let_in == {"gateway", "worker"}
    assert rule["ports"] == [{"port": "engine"}]


# -- the migration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["defaults", "existing-secret", "everything"])
def test_the_migration_runs_first_and_needs_nothing_of_the_release(name: str) -> None:
    manifests = rendered(name)
    hooks = [m for m in manifests if "helm.sh/hook" in m["metadata"].get("annotations", {})]
    (job,) = of_kind(tuple(hooks), "Job")
    for hook in hooks:
        marks = hook["metadata"]["annotations"]
        assert marks["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "before-hook-creation" in marks["helm.sh/hook-delete-policy"]
        assert hook is job or int(marks["helm.sh/hook-weight"]) < int(
            job["metadata"]["annotations"]["helm.sh/hook-weight"]
        )
    there = {(m["kind"], m["metadata"]["name"]) for m in hooks}
    outside = {("Secret", values_of(name).get("existingSecret")), ("Secret", "s3"), ("Secret", "pull")}
    assert references(pod_of(job)) <= there | outside | {("ServiceAccount", "default")}
    release = environment(manifests, named(manifests, "Deployment", "images-image-gateway-gateway"))
    assert environment(manifests, job).items() <= release.items()


# -- metrics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "job"), [("everything", "image-gateway"), ("existing-secret", "images-staging")]
)
def test_prometheus_reads_gateways_and_workers(name: str, job: str) -> None:
    manifests = rendered(name)
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    services = {
        s["metadata"]["name"].rpartition("-")[2]: s
        for s in of_kind(manifests, "Service")
        if selects(monitor["spec"]["selector"], s["metadata"]["labels"])
    }
    assert services.keys() == {"gateway", "worker"}
    (endpoint,) = monitor["spec"]["endpoints"]
    for service in services.values():
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] == "/metrics"
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job}]
    credentials = endpoint["authorization"]["credentials"]
    gateway = named(manifests, "Deployment", "images-image-gateway-gateway")
    assert ("Secret", credentials["name"]) in references(pod_of(gateway))
    for secret in of_kind(manifests, "Secret"):
        assert credentials["key"] in secret["stringData"]


def test_the_alerts_are_those_of_the_release() -> None:
    (rule,) = of_kind(rendered("everything", "metrics.job=staging"), "PrometheusRule")
    text = yaml.safe_dump({"groups": rule["spec"]["groups"]})
    rules = read_rules(text)
    assert [r.get("alert") or r["record"] for r in rules] == [
        r.get("alert") or r["record"] for r in read_rules()
    ]
    checker, _ = checked(rules)
    assert checker.faults == []
    assert set(re.findall(r'job="([^"]+)"', text)) == {"staging"}
    books = {r["alert"]: r for r in rules if "alert" in r}["GatewayDown"]["annotations"]["runbook_url"]
    assert books == "https://example.org/operations.md#gatewaydown"


def test_the_dashboard_is_given_to_grafana_as_it_is() -> None:
    board = named(rendered("everything"), "ConfigMap", "images-image-gateway-dashboard")
    original = (CHART / "files" / "image-gateway.json").read_text("utf-8")
    assert yaml.safe_load(board["data"]["image-gateway.json"]) == yaml.safe_load(original)
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def queries(manifest: Manifest) -> dict[str, tuple[str, str]]:
    return {
        t["name"]: (t["metadata"]["query"], t["metadata"]["threshold"]) for t in manifest["spec"]["triggers"]
    }


def test_workers_are_scaled_by_open_and_by_waiting_jobs() -> None:
    (keda,) = of_kind(rendered("everything", "metrics.job=staging"), "ScaledObject")
    checker = Checker(series((*our_metrics(), *OTHERS)))
    for query, _ in queries(keda).values():
        assert checker.check(query) == frozenset()  # one number
        assert 'job="staging"' in query
    assert checker.faults == []
    assert checker.metrics == {"gateway_jobs", "gateway_queue_depth"}
    assert {name: threshold for name, (_, threshold) in queries(keda).items()} == {
        "open-jobs": "150",
        "queued": "25",
    }
    (hpa,) = of_kind(rendered("modal"), "HorizontalPodAutoscaler")
    told = {
        m["external"]["metric"]["name"]: m["external"]["target"]["averageValue"]
        for m in hpa["spec"]["metrics"]
    }
    assert told == {"gateway_open_jobs": "150", "gateway_queue_depth": "25"}


def test_the_adapter_of_the_readme_serves_what_the_autoscaler_asks_for() -> None:
    (hpa,) = of_kind(rendered("modal"), "HorizontalPodAutoscaler")
    readme = (CHART / "README.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(rules:\n.*?)```", readme, re.S)
    served = {rule["name"]["as"]: rule["metricsQuery"] for rule in yaml.safe_load(text)["rules"]["external"]}
    assert served.keys() == {metric["external"]["metric"]["name"] for metric in hpa["spec"]["metrics"]}
    checker = Checker(series((*our_metrics(), *OTHERS)))
    for query in served.values():
        filled = query.replace("<<.Series>>", "gateway_queue_depth").replace("<<.LabelMatchers>>", 'job="a"')
        checker.check(filled)
    assert checker.faults == []
    assert checker.metrics == {"gateway_jobs", "gateway_queue_depth"}


# -- values that cannot be used ------------------------------------------------------------------------------------

REFUSED: list[tuple[str, tuple[str, ...], str]] = [
    ("defaults", ("publicUrl=",), "publicUrl must be given"),
    ("defaults", ("storage.url=",), "storage.url (s3://bucket/prefix) or storage.existingClaim must be given"),
    ("defaults", ("storage.existingClaim=x",), "storage.url and storage.existingClaim are both given"),
    ("defaults", ("storage.url=file:///pictures",), "/storage/url"),
    ("defaults", ("secrets.GATEWAY_SECRET=",), "secrets.GATEWAY_SECRET must be given"),
    ("defaults", ("secrets.GATEWAY_ENGINE_TOKEN=",), "secrets.GATEWAY_ENGINE_TOKEN must be given"),
    ("defaults", ("secrets.GATEWAY_DATABASE_URL=sqlite:////data/gateway.db",), "must be of PostgreSQL"),
    ("defaults", ("metrics.serviceMonitor.enabled=true",), "secrets.GATEWAY_METRICS_TOKEN must be given"),
    ("defaults", ("existingSecret=x",), "secrets and existingSecret are both given"),
    ("defaults", ("engine.address=gpu-box:7861",), "engine.enabled and engine.address are both given"),
    ("modal", ("engine.address=gpu-box:7861",), "secrets.GATEWAY_ENGINE_TOKEN must be given"),
    ("defaults", ("config.FAL_KEY=x",), "FAL_KEY"),
    ("defaults", ("config.GATEWAY_PORT=1",), "GATEWAY_PORT"),
    ("defaults", ("worker.replica=3",), "replica"),
    ("defaults", ("worker.autoscaling.kind=hpa",), "/worker/autoscaling/kind"),
    ("everything", ("metrics.serviceMonitor.interval=5s",), "/metrics/serviceMonitor/interval"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "reason"), REFUSED)
def test_a_value_that_cannot_be_used_is_refused_with_the_reason(
    name: str, settings: tuple[str, ...], reason: str
) -> None:
    assert reason in refusal(name, *settings)


def test_the_notes_say_what_to_do_next() -> None:
    file = str(CHART / "ci" / "minimal-values.yaml")
    done = helm("install", "images", str(CHART), "--dry-run=client", "--values", file, "--namespace", "prod")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("\nNOTES:\n", 1)[1]
    told: list[Any] = re.findall(r"-- gateway (\w+)", notes)
    assert {"account", "keys", "doctor"} <= set(told)
    assert all(word in cli.commands for word in told)
    assert "WARNING: without secrets.GATEWAY_SMTP_URL" in notes
