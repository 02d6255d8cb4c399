"""Images and containers without a container engine: a Debian root by debootstrap, chroot, namespaces.

What is mounted is mounted in a namespace of its own, which ends with its last process: nothing stays, however a test
ends. The machine's package sources, pip's configuration and certificates are lent to the steps of a build and are
in no image: a Dockerfile knows nothing of them.
"""

import ast
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docker.utils.build import exclude_paths
from support.dockerfile import Copy, Dockerfile, Image, Run, Stage

__all__ = ["Builder", "Container", "why_not"]

NEEDED = ("debootstrap", "unshare", "chroot", "setpriv", "mount")
SYSTEM = "mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev"
LENT = "/mnt"
"""Where a step finds what the machine lends it."""


def why_not() -> str | None:
    """Why no image can be built here; None when one can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else None


class Builder:
    """Builds images, each in a folder.

    Args:
        folder: an empty one.
        context: what COPY copies from, less what its .dockerignore names.
        bases: by an image's name, the Debian release it stands for.
    """

    def __init__(self, folder: Path, context: Path, bases: dict[str, str]) -> None:
        self._folder = folder
        self._context = context
        ignored = [line.strip() for line in (context / ".dockerignore").read_text().splitlines()]
        patterns = [line for line in ignored if line and not line.startswith("#")]
        self._files = [
            name for name in exclude_paths(str(context), patterns) if not name.endswith("Dockerfile")
        ]
        self._bases = bases
        self._built: dict[str, Path] = {}
        self._machine = _Machine()
        self.said = folder / "build.log"

    def build(self, dockerfile: Dockerfile) -> tuple[Path, Image]:
        """The root of its last stage, and what a container of it is started with."""
        return self._stage(dockerfile, dockerfile.last), dockerfile.last.image

    def _stage(self, file: Dockerfile, stage: Stage) -> Path:
        """Stages that are the same in two Dockerfiles are built once."""
        key = _key(file, stage)
        if key not in self._built:
            before = file.stages.get(stage.base)
            base = self._debian(stage.base) if before is None else self._stage(file, before)
            froms = {step.stage: None for step in stage.steps if isinstance(step, Copy) and step.stage}
            others = {name: self._stage(file, file.stages[name]) for name in froms}
            root = self._folder / (stage.name or "image") / key[:12]
            root.parent.mkdir(exist_ok=True)
            _linked(base, root)
            for step in stage.steps:
                if isinstance(step, Run):
                    self._step(root, step)
                else:
                    self._copy(root, step, others.get(step.stage or ""))
            self._built[key] = root
        return self._built[key]

    def _debian(self, image: str) -> Path:
        if image not in self._built:
            root = self._folder / self._bases[image]
            _run("debootstrap", "--variant=minbase", self._bases[image], str(root))
            self._built[image] = root
        return self._built[image]

    def _step(self, root: Path, step: Run) -> None:
        mounts, env = self._machine.lend(root)
        env |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        env |= {"DEBIAN_FRONTEND": "noninteractive", **dict(step.env)}
        if step.user != "0:0":
            raise ValueError(f"{step.command}: only root's steps are known here")
        words = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
        words += ["/bin/sh", "-ec", f"cd {shlex.quote(step.workdir)}; {step.command}"]
        inside = " && ".join([SYSTEM.format(root=root), *mounts])
        script = f"{inside} && exec chroot {root} {shlex.join(words)}"
        with self.said.open("ab") as said:
            said.write(f"\n$ {step.command}\n".encode())
            said.flush()
            done = subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        assert done.returncode == 0, f"{step.command}\n{self.said.read_text()[-4000:]}"

    def _copy(self, root: Path, step: Copy, stage: Path | None) -> None:
        to = root / step.to.strip("/")
        for source in step.sources:
            if stage is not None:
                to.mkdir(parents=True, exist_ok=True)
                _run("cp", "-al", f"{stage / source.strip('/')}/.", str(to))
                continue
            files = [name for name in self._files if name == source or name.startswith(f"{source}/")]
            files = [name for name in files if (self._context / name).is_file()]
            assert files, f"COPY {source}: there is none in the context"
            for name in files:
                inner = name.removeprefix(source).lstrip("/")
                target = to / (inner or Path(name).name) if inner or step.to.endswith("/") else to
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._context / name, target)


def _linked(base: Path, root: Path) -> None:
    """A copy that shares the files which nothing writes in place: apt and pip put new ones where old ones were."""
    _run("cp", "-al", str(base), str(root))
    for written in ("etc", "var"):
        _run("rm", "-rf", str(root / written))
        _run("cp", "-a", str(base / written), str(root / written))


def _key(file: Dockerfile, stage: Stage) -> str:
    """What its root depends on."""
    parts = [stage.base if stage.base not in file.stages else _key(file, file.stages[stage.base])]
    for step in stage.steps:
        copied = _key(file, file.stages[step.stage]) if isinstance(step, Copy) and step.stage else ""
        parts.append(f"{step!r} {copied}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _Machine:
    """What this machine has so that packages can be installed."""

    def __init__(self) -> None:
        listed = _run(sys.executable, "-m", "pip", "config", "list")
        self._pip: dict[str, str] = {}
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            section, _, key = name.rpartition(".")
            if section in ("global", "install", ":env:"):
                variable = "PIP_" + key.strip(".").upper().replace("-", "_")
                self._pip[variable] = str(ast.literal_eval(value))
        self._other = {
            name: value
            for name, value in os.environ.items()
            if name.lower() in ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
        }

    def lend(self, root: Path) -> tuple[list[str], dict[str, str]]:
        """Commands that mount it, and the environment that names it."""
        mounts = [f"mount -t tmpfs tmpfs {root}{LENT}"]
        if Path("/etc/apt").is_dir():
            mounts += _bound("/etc/apt", f"{root}/etc/apt")
        for name in ("resolv.conf", "hosts"):
            (root / "etc" / name).touch()
            mounts += _bound(f"/etc/{name}", f"{root}/etc/{name}")
        env = dict(self._other)
        lent: set[str] = set()
        for variable, value in self._pip.items():
            env[variable] = " ".join(_lent(word, lent) for word in value.split())
        for path in sorted(lent):
            place = f"{root}{LENT}{path}"
            make = f"mkdir -p {place}" if Path(path).is_dir() else f"install -D /dev/null {place}"
            mounts += [make, *_bound(path, place)]
        return mounts, env


def _lent(word: str, lent: set[str]) -> str:
    """A path of this machine, or a file URL, as a step of a build sees it."""
    is_url = word.startswith("file://")
    path = unquote(urlsplit(word).path) if is_url else word
    if not (path.startswith("/") and Path(path).exists()):
        return word
    # The pages of an index name files beside its folder.
    lent.add(str(Path(path).parent) if is_url else path)
    return f"file://{LENT}{path}" if is_url else f"{LENT}{path}"


def _bound(what: str, where: str) -> list[str]:
    where = shlex.quote(where)
    return [f"mount --bind {shlex.quote(what)} {where}", f"mount -o remount,bind,ro {where}"]


class Container:
    """A process in an image: its root read-only, /data and /tmp its own, no capability, as the image's user.

    It is the process 1 of its namespace, as it is in a container that has no `init`.

    Args:
        root: the image's.
        image: what it is started with.
        folder: an empty one; its `data` is /data.
        command: in place of the image's.
        env: on top of the image's.
    """

    def __init__(
        self, root: Path, image: Image, folder: Path, command: Sequence[str] | None = None, **env: str
    ) -> None:
        self._root, self._image = root, image
        self._env = {**image.env, **env}
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        uid, _, gid = image.user.partition(":")
        os.chown(self.data, int(uid), int(gid))
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(
                    [*image.entrypoint, *(command or image.command)], "--pid", "--fork", "--kill-child"
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _command(self, words: Sequence[str], *namespaces: str) -> list[str]:
        root, image = self._root, self._image
        uid, _, gid = image.user.partition(":")
        mounts = [
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro {root}",
            SYSTEM.format(root=root),
            f"mount -t tmpfs tmpfs {root}/tmp",
            f"mount --bind {self.data} {root}/data",
        ]
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        drop += ["--bounding-set=-all", "env", "-i", "-C", image.workdir]
        drop += [f"{name}={value}" for name, value in self._env.items()]
        script = f"{' && '.join(mounts)} && exec chroot {root} {shlex.join([*drop, *words])}"
        return ["unshare", "--mount", *namespaces, "sh", "-ec", script]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command in it, as `docker exec` would run it."""
        inside = self._command([*words])
        enter = ["nsenter", f"--target={self.pid}", "--pid", *inside]
        return subprocess.run(enter, capture_output=True, text=True, timeout=100)

    @property
    def pid(self) -> int:
        """Its process, as the machine sees it."""
        number = self._process.pid
        return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])

    def alive(self) -> bool:
        """Whether it runs; else the test fails with what it said."""
        assert self._process.poll() is None, f"it ended:\n{self.log.read_text()}"
        return True

    def stop(self, timeout_s: float) -> int:
        """The image's signal; its exit code. It has so many seconds."""
        os.kill(self.pid, signal.Signals[self._image.stop_signal])
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """End it, if it runs."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, IndexError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.wait(20)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
