"""What admins send, and jobs as they see them."""

from decimal import Decimal

from msgspec import Struct

from gateway.schemas import AttemptView, JobView

__all__ = [
    "AdminAttemptView",
    "AdminJobList",
    "AdminJobView",
    "AdoptRequest",
    "FailRequest",
    "ReloadRequest",
]


class AdoptRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/jobs/{id}/adopt`."""

    request_id: str
    """The provider's own id of the job."""


class FailRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/admin/jobs/{id}/fail`: an empty object."""


class ReloadRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/admin/registry/reload`: an empty object."""


class AdminAttemptView(AttemptView, frozen=True, kw_only=True, rename="camel"):
    """One submission to a provider, as an admin sees it."""

    attempt_id: str
    request_id: str | None
    """The provider's own id of it."""
    provider_cost_micros: int | None
    """What the provider bills; null until it has succeeded."""
    listed_cost_micros: int | None
    """What that should be by our list of its prices."""
    billable_units: str | None
    """What the provider counted, in its own unit: a decimal."""


class AdminJobView(JobView, frozen=True, kw_only=True, rename="camel"):
    """A job as an admin sees it."""

    account_id: str
    """Whose it is."""
    attempts: tuple[AdminAttemptView, ...]
    provider_cost: Decimal
    """US dollars that its providers bill, as their answers say."""
    provider_cost_micros: int
    listed_cost: Decimal
    """US dollars that they should bill, by our list of their prices."""
    listed_cost_micros: int
    billable_units: Decimal | None
    """What its providers counted, in their own unit; null where none did."""
    margin: Decimal | None
    """US dollars: what is charged, less what its providers bill; null until the job ends."""
    margin_micros: int | None


class AdminJobList(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of everybody's jobs, newest first."""

    jobs: tuple[AdminJobView, ...]
    next_cursor: str | None
