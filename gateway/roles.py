"""What a process is for: it answers requests, runs jobs, or both."""

from typing import Literal
from urllib.parse import urlsplit

from msgspec import structs

from gateway.settings import LOOPBACK, Settings, SettingsError

__all__ = ["Role", "role_of", "worker_settings"]

Role = Literal["serve", "front", "worker"]
"""`serve`: both; `front`: it answers requests, and lets jobs in that workers run; `worker`: it runs jobs."""


def role_of(settings: Settings) -> Role:
    """What `gateway serve` is for."""
    return "serve" if settings.run_jobs else "front"


def worker_settings(settings: Settings) -> Settings:
    """The settings as a worker reads them: those that are about its requests are about the fronts' here.

    Raises:
        SettingsError: a worker cannot run with them.
    """
    if not settings.shared_database:
        raise SettingsError(
            "`gateway worker` runs the jobs that other processes let in, and a SQLite file has one process: "
            "set GATEWAY_DATABASE_URL to a PostgreSQL database, or run `gateway serve` alone"
        )
    public_url = settings.env.get("GATEWAY_PUBLIC_URL", "").strip()
    if not public_url:
        raise SettingsError(
            "GATEWAY_PUBLIC_URL must be set for `gateway worker`: mails and calls that it sends have links "
            "to the gateway that answers requests, and it does not know where that is"
        )
    # Where a worker listens says nothing of who may reach the gateway.
    named = settings.env.get("GATEWAY_AUTH", "").strip()
    auth = settings.auth if named or urlsplit(public_url).hostname in LOOPBACK else "required"
    # One environment may be everybody's: that others do not run jobs is no matter here.
    env = {name: value for name, value in settings.env.items() if name != "GATEWAY_RUN_JOBS"}
    return structs.replace(settings, run_jobs=True, auth=auth, env=env)
