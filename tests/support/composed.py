"""The services of deploy/compose.yaml without Docker: their own commands and variables, each in a network and with
mounts of its own (Linux namespaces), kept alive by supervisord as Docker would keep them.

What belongs to an image of somebody else's, and not to compose.yaml, is in `support.stand_ins`.
"""

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy, Transport

from support.compose import env_file, read_compose
from support.dockerfile import read_dockerfile
from support.gateway_process import until
from support.stand_ins import StandIn, stand_ins

__all__ = ["Containers", "reason_not_to"]

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
NEEDED = ("ip", "unshare", "nsenter", "nginx", "dnsmasq", "openssl")
START_S = 90.0


def reason_not_to() -> str | None:
    """Why this machine cannot run them; None when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (see .ci/run)"
    probe = subprocess.run(
        ["unshare", "--mount", "--net", "ip", "link", "add", "name", "probe", "type", "bridge"],
        capture_output=True,
        check=False,
    )
    return None if probe.returncode == 0 else "this system lets nobody make networks"


class Containers:
    """A context manager, which makes their network; nothing runs until `up`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="igw-co-"))
        # A network of this process's own: test processes run beside each other.
        self._net = f"10.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self._mark = f"ig{os.getpid() % 100_000}"
        self.outside = f"{self._net}.1"
        """This machine's address, seen from inside."""
        self.containers: list[str] = []
        self._address: dict[str, str] = {}
        self._services: dict[str, dict[str, Any]] = {}
        self._stand_ins: dict[str, StandIn] = {}
        self._made: list[Path] = []
        self._transport = _Transport(self._socket)
        self._server = ServerProxy("http://127.0.0.1", self._transport)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def _read(self, profile: str, env: Mapping[str, str]) -> None:
        self.env = self._env(env)
        document = read_compose(DEPLOY / "compose.yaml", self.env)
        self._services = {
            name: service
            for name, service in document["services"].items()
            if profile in service.get("profiles", [])
        }
        self._stand_ins = stand_ins(self.folder)
        self.containers = [one for name in self._services for one in self._replicas(name)]
        self._address = {one: f"{self._net}.{place + 10}" for place, one in enumerate(self.containers)}

    # -- what a test does ----------------------------------------------------------------

    def address(self, container: str) -> str:
        """Of a container, seen from here and from the others."""
        return self._address[container]

    def log(self, container: str) -> str:
        """What it has written so far, over all its lives."""
        return (self.folder / f"{container}.log").read_text()

    def up(self, profile: str, env: Mapping[str, str]) -> None:
        """Start all of them, each when what it depends on is as its `depends_on` asks.

        Args:
            profile: of compose.yaml.
            env: what an operator writes into .env, beside what make-env.sh did.
        """
        self._read(profile, env)
        for container in self.containers:
            self._make(container)
        self._write_configuration()
        with (self.folder / "supervisord.log").open("ab") as log:
            command = [str(BIN / "supervisord"), "--nodaemon", "--configuration", str(self._configuration)]
            self._supervisor = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until("supervisord answers", self._socket.exists, 30)
        left = list(self._services)
        while left:
            ready = [name for name in left if not self._depends(name) & set(left)]
            assert ready, f"these wait for each other: {left}"
            for name in ready:
                for other, how in self._services[name].get("depends_on", {}).items():
                    self._await(other, how["condition"])
                for one in self._replicas(name):
                    self._server.supervisor.startProcess(one, False)
                left.remove(name)
        for name in self._services:
            self._await(name, "service_healthy")

    def kill(self, container: str) -> None:
        """SIGKILL; supervisord starts it anew, as Docker would."""
        before = self._pid(container)
        os.kill(before, signal.SIGKILL)
        until(f"{container} is started anew", lambda: self._pid(container) not in (0, before), 30)

    def run(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`: a command beside it."""
        return subprocess.run(
            ["/bin/sh", str(self.folder / f"{container}.sh"), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def healthy(self, container: str) -> bool:
        """What its healthcheck says."""
        name = self._service(container)
        stand_in = self._stand_ins.get(name)
        test = self._services[name].get("healthcheck", {}).get("test")
        command = stand_in.health if stand_in is not None and stand_in.health else (test or [])[1:]
        return not command or self.run(container, *command).returncode == 0

    # -- networks, mounts, processes -----------------------------------------------------

    def __enter__(self) -> "Containers":
        _ip("link", "add", "name", self._mark, "type", "bridge")
        _ip("address", "add", f"{self.outside}/24", "dev", self._mark)
        _ip("link", "set", self._mark, "up")
        return self

    def __exit__(self, *_: object) -> None:
        if self._supervisor is not None:
            self._supervisor.terminate()
            try:
                self._supervisor.wait(90)
            finally:
                self._supervisor.kill()
        for container in self.containers:
            subprocess.run(
                ["ip", "netns", "delete", self._space(container)], check=False, capture_output=True
            )
        subprocess.run(["ip", "link", "delete", self._mark], check=False, capture_output=True)
        for made in self._made:
            made.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._transport.close()

    @property
    def _socket(self) -> Path:
        return self.folder / "s"

    @property
    def _configuration(self) -> Path:
        return self.folder / "supervisord.conf"

    def _env(self, more: Mapping[str, str]) -> dict[str, str]:
        """What `make-env.sh` writes, and what the operator adds."""
        for name in ("make-env.sh", ".env.example"):
            shutil.copy(DEPLOY / name, self.folder)
        subprocess.run(["sh", str(self.folder / "make-env.sh")], check=True, capture_output=True)
        return {**env_file((self.folder / ".env").read_text()), **more}

    def _replicas(self, name: str) -> list[str]:
        count = self._services[name].get("deploy", {}).get("replicas", 1)
        return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]

    def _service(self, container: str) -> str:
        return next(name for name in self._services if container in self._replicas(name))

    def _depends(self, name: str) -> set[str]:
        return set(self._services[name].get("depends_on", {}))

    def _space(self, container: str) -> str:
        return f"{self._mark}-{container}"

    def _make(self, container: str) -> None:
        """A network of its own, with an address on ours; a script that enters it and runs a command."""
        space, place = self._space(container), self.containers.index(container)
        inner, outer = f"{self._mark}i{place}", f"{self._mark}o{place}"
        _ip("netns", "add", space)
        _ip("link", "add", inner, "type", "veth", "peer", "name", outer)
        _ip("link", "set", inner, "netns", space)
        _ip("link", "set", outer, "master", self._mark, "up")
        _ip("-netns", space, "address", "add", f"{self._address[container]}/24", "dev", inner)
        _ip("-netns", space, "link", "set", inner, "up")
        _ip("-netns", space, "link", "set", "lo", "up")
        script = self.folder / f"{container}.sh"
        script.write_text(self._script(container))

    def _script(self, container: str) -> str:
        """Enters the container; what stands behind it on the command line is run there."""
        name = self._service(container)
        mounts = []
        for volume in (
            []
            if name in self._stand_ins and not self._stand_ins[name].volumes
            else self._services[name].get("volumes", [])
        ):
            source, target = self._volume(container, volume)
            if not Path(target).exists():
                # Mounted over in the container's own view alone; it goes when this ends.
                Path(target).mkdir()
                self._made.append(Path(target))
            mounts.append(f"mount --bind {source} {target}")
        (self.folder / "hosts").write_text(self._hosts())
        mounts.append(f"mount --bind {self.folder / 'hosts'} /etc/hosts")
        env = {"PATH": f"{BIN}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1", **self._variables(name)}
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in env.items())
        workdir = self._image(name).get("workdir", "/")
        enter = (
            f"exec nsenter --net=/run/netns/{self._space(container)} unshare --mount --propagation private"
        )
        return (
            f"unset $(env | cut -d= -f1 | grep -E '^(GATEWAY|AWS|FAL|OTEL|HF)_')\n{exports}"
            f'{enter} /bin/sh -ec \'{"; ".join(mounts)}; cd {workdir} && exec "$@"\' enter "$@"\n'
        )

    def _volume(self, container: str, volume: Any) -> tuple[Path, str]:
        """Where a volume of compose.yaml is here, and where it is mounted."""
        if isinstance(volume, dict):
            source, target = self.folder / "volumes" / container, str(volume["target"])
        else:
            name, target = volume.split(":")[:2]
            source = DEPLOY / name if name.startswith(".") else self.folder / "volumes" / name
        if source.is_file():
            return source, target
        source.mkdir(parents=True, exist_ok=True)
        return source, target

    def _hosts(self) -> str:
        lines = ["127.0.0.1 localhost"]
        for name, service in self._services.items():
            networks = service.get("networks", {})
            named = networks.get("default", {}) if isinstance(networks, dict) else {}
            for one in self._replicas(name):
                lines.append(" ".join([self._address[one], name, *(named or {}).get("aliases", [])]))
        return "\n".join(lines) + "\n"

    def _image(self, name: str) -> dict[str, Any]:
        """What one of our images says of its containers."""
        build = self._services[name].get("build")
        if build is None:
            return {}
        dockerfile = read_dockerfile((DEPLOY.parent / build["dockerfile"]).read_text())
        last = dockerfile.last.image
        env = {key: value for key, value in last.env.items() if key != "PATH"}
        return {"env": env, "workdir": last.workdir, "entrypoint": last.entrypoint}

    def _variables(self, name: str) -> dict[str, str]:
        service = self._services[name]
        from_file = self.env if service.get("env_file") else {}
        return {**self._image(name).get("env", {}), **from_file, **service.get("environment", {})}

    def _command(self, name: str) -> Sequence[str]:
        service, stand_in = self._services[name], self._stand_ins.get(name)
        if stand_in is not None and stand_in.command:
            return stand_in.command
        entrypoint = service.get("entrypoint", self._image(name).get("entrypoint", ()))
        return [*entrypoint, *service.get("command", ())]

    def _write_configuration(self) -> None:
        parts = [
            f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={self.folder}/pid\n"
            f"[unix_http_server]\nfile={self._socket}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        ]
        for container in self.containers:
            name = self._service(container)
            service = self._services[name]
            command = shlex.join(["/bin/sh", str(self.folder / f"{container}.sh"), *self._command(name)])
            again = service.get("restart") != "no"
            stop = service.get("stop_signal", "SIGTERM").removeprefix("SIG")
            parts.append(
                f"[program:{container}]\ncommand={command.replace('%', '%%')}\nautostart=false\n"
                f"autorestart={str(again).lower()}\nstartsecs=0\nstartretries=100\nstopsignal={stop}\n"
                f"stopwaitsecs=60\nredirect_stderr=true\nstdout_logfile={self.folder}/{container}.log\n"
                "stdout_logfile_maxbytes=0\n"
            )
            if name in self._stand_ins and self._stand_ins[name].resolver:
                parts.append(self._resolver(container))
        self._configuration.write_text("\n".join(parts))

    def _resolver(self, container: str) -> str:
        """Docker's own name server, which a container asks at 127.0.0.11."""
        command = [
            *(
                "/bin/sh",
                str(self.folder / f"{container}.sh"),
                "dnsmasq",
                "--keep-in-foreground",
                "--user=root",
            ),
            *("--listen-address=127.0.0.11", "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file="),
            f"--addn-hosts={self.folder / 'hosts'}",
        ]
        log = self.folder / f"{container}-names.log"
        return (
            f"[program:{container}-names]\ncommand={shlex.join(command)}\nautostart=true\n"
            f"redirect_stderr=true\nstdout_logfile={log}\n"
        )

    def _pid(self, container: str) -> int:
        info: Any = self._server.supervisor.getProcessInfo(container)
        return int(info["pid"])

    def _await(self, name: str, condition: str) -> None:
        """Wait until a service is as another one's `depends_on` asks."""
        for container in self._replicas(name):
            if condition == "service_completed_successfully" or self._services[name].get("restart") == "no":
                until(f"{container} has ended", lambda one=container: self._ended(one), START_S)
            elif condition == "service_healthy":
                until(f"{container} is healthy", lambda one=container: self.healthy(one), START_S)

    def _ended(self, container: str) -> bool:
        try:
            info: Any = self._server.supervisor.getProcessInfo(container)
        except Fault:
            return False
        if info["statename"] == "EXITED":
            assert info["exitstatus"] == 0, f"{container} failed:\n{self.log(container)}"
            return True
        return False


class _Transport(Transport):
    """XML-RPC to a socket in the file system. Supervisor's own leaves connections open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """A new one for each call."""
        self.close()
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._path))
        self._connection = host, connection
        return connection


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
