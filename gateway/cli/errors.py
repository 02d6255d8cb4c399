"""Which failures have a name, and the exit code of each."""

import httpx

from gateway.backup.records import BackupError
from gateway.cli.payment import payment_steps
from gateway.client import GatewayFailure
from gateway.db.engine import DatabaseError
from gateway.locks import FolderBusyError
from gateway.observe.tracing import TracingError
from gateway.server import PortTakenError
from gateway.settings import SettingsError
from gateway.storage import StorageError
from providers.diffusers_modal.deployment import SettingError
from providers.diffusers_modal.levers import UnknownLeverError
from providers.diffusers_modal.process import EngineRunningError
from providers.discovery import DiscoveryError
from providers.errors import ProviderError
from providers.exports import ExportError
from providers.fal.findings import CatalogueError
from providers.optimizer import OptimizerError
from registry.errors import RegistryError, UnknownModel
from templates.errors import TemplateError

__all__ = ["known_failure"]

NAMED = (
    BackupError,
    DatabaseError,
    DiscoveryError,
    OptimizerError,
    EngineRunningError,
    FolderBusyError,
    PortTakenError,
    RegistryError,
    SettingError,
    SettingsError,
    StorageError,
    TemplateError,
    TracingError,
    UnknownLeverError,
)
BY_STATUS = {202: 8, 402: 5, 404: 4}
STEPS = {
    "authentication_required": "set GATEWAY_API_KEY to a key of the gateway at GATEWAY_PUBLIC_URL: "
    "commands send it there",
}
"""What to do next, where that is another thing for a command than for a program that calls the API."""


def known_failure(error: Exception) -> tuple[str, int] | None:
    """A failure's message and exit code; None when it is a fault of ours."""
    if isinstance(error, GatewayFailure):
        lines = [f"{error} ({error.code})"]
        lines += [
            f"  {f['pointer']}: {f['message']}" + (f" [{f['allowed']}]" if f.get("allowed") else "")
            for f in error.problem.get("errors", [])
        ]
        lines += [f"  {STEPS[error.code]}"] if error.code in STEPS else []
        lines += [f"  {step}" for step in payment_steps(error.problem)]
        provider = error.code.startswith("provider_") or error.code in ("content_policy", "engine_failed")
        return "\n".join(lines), 7 if provider else BY_STATUS.get(
            error.status, 2 if error.status < 500 else 1
        )
    if isinstance(error, ProviderError):
        return f"{error.message} ({error.code})", 7
    if isinstance(error, UnknownModel):
        return f"{error} Supported: {', '.join(error.supported)}", 4
    if isinstance(error, CatalogueError | ExportError):
        return str(error), 2
    if isinstance(error, NAMED):
        return str(error), 1
    if isinstance(error, httpx.TransportError):
        return f"the gateway cannot be reached: {error}", 1
    if isinstance(error, OSError):
        return str(error), 1
    return None
