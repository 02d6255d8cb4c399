"""What goes over the wire at the app-facing routes. camelCase outside, as the seeds have it."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response
from msgspec import Meta, Struct

from gateway.delivery.asked import DeliveryRequest, DeliveryShown
from providers.normalizer import ReportRow

__all__ = [
    "AttemptView",
    "ErrorView",
    "EstimateView",
    "GenerateRequest",
    "HealthView",
    "ImageView",
    "JobCounts",
    "JobList",
    "JobView",
    "ModelList",
    "ModelView",
    "ProgressView",
    "QuoteView",
    "RawRequest",
    "RoutingView",
    "Schedule",
    "ScheduleView",
    "TemplateRequest",
    "as_json",
    "json_response",
]


MOST_LISTED = 8
MOST_VARIANTS = 8
MOST_OUTPUTS = 64
"""Fallbacks that a request may list."""
Schedule = Literal["now", "window"]
"""When a job runs: at once, or together with others in the next batch window."""
MOST_USER_ID = 200
"""Characters; the database keeps no more."""


class GenerateRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/images/generate` and `/estimate`."""

    model: str | None = None
    """An id or alias of `GET /api/models`. It wins over `intent`."""
    intent: str | None = None
    """A need (`realistic`, `text_heavy`, ...) in place of a model; `auto` reads it from the prompt."""
    inputs: dict[str, Any] = {}
    """The model's inputs, in the unified vocabulary."""
    options: dict[str, Any] = {}
    """One namespace with `inputs`; also `on_unsupported`: error, warn or drop."""
    user_id: Annotated[str, Meta(max_length=MOST_USER_ID)] | None = None
    """The caller's own end user, for reports; never an identity."""
    fallbacks: Annotated[tuple[str, ...], Meta(max_length=MOST_LISTED)] | None = None
    """Other models that may serve when the first is not available or fails, in order. Without it, under
    an intent, its other models that cost no more; `[]`: none."""
    schedule: Schedule | None = None
    """`now`, for premium accounts, or `window`: with others in the next batch window, which may cost less.
    Without it: `now` for premium accounts, `window` for normal ones."""
    delivery: DeliveryRequest | None = None
    """How its end is told, beside the job's own page."""


class RawRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /diffusers/generate`, in the Hugging Face style."""

    model_id: str
    inputs: str
    """The prompt."""
    parameters: dict[str, Any] = {}


class TemplateRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/templates/<name>`."""

    variables: dict[str, Any] = {}
    options: dict[str, Any] = {}
    user_id: Annotated[str, Meta(max_length=MOST_USER_ID)] | None = None
    delivery: DeliveryRequest | None = None
    """How the end of its job is told, beside the job's own page."""
    template: str | None = None
    """The template's name once more, as the seed document writes it; must agree with the path."""
    count: Annotated[int, Meta(ge=1, le=MOST_VARIANTS)] = 1
    """Variants: each has a scene of its own."""
    outputs: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_OUTPUTS)] | None = None
    """Names of the outputs that are wanted; all of them by default."""
    format: Literal["png", "jpeg", "webp", "pdf"] | None = None
    """Of every output, in the place of its own."""
    schedule: Schedule | None = None
    """As in `POST /api/images/generate`."""


class ImageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One picture of a job."""

    id: str
    url: str
    width: int
    """Pixels."""
    height: int
    content_type: str
    seed: int | None
    sha256: str
    name: str | None = None
    """Of a template's output: its name, with the variant's number where there are several."""


class AttemptView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One submission to a provider."""

    number: int
    model: str
    provider: str
    endpoint: str
    status: str
    """not_sent, sent, accepted, succeeded, failed, unknown"""
    error: str | None
    run_seconds: float | None
    started_at: str
    ended_at: str | None


class ErrorView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a job failed."""

    code: str
    message: str


class ProgressView(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a job is."""

    phase: str | None = None
    step: int | None = None
    steps: int | None = None
    position: int | None = None
    """Jobs ahead of this one at the provider."""
    images: int | None = None
    """Pictures that have come, of a job that takes several calls."""


class QuoteView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a job was quoted before it ran."""

    cost: Decimal
    cost_micros: int
    ceiling_micros: int
    """Never more than this is charged."""


class ScheduleView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a job of a batch window costs, against what it would cost at once."""

    cost_now: Decimal
    """US dollars, were it run at once."""
    cost_then: Decimal
    """US dollars in its window: what it is quoted."""


class PassedOverView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A model that came first and could not serve."""

    model: str
    reason: str


class RoutingView(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the model was chosen."""

    rule: str
    """`model`, `intent`, `auto` or `default`"""
    why: str
    requested: str | None
    passed_over: tuple[PassedOverView, ...]


class StepView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a template's run."""

    name: str
    do: str
    """generate, edit, remove-background or upscale"""
    job_id: str | None
    """Its own job; null until its turn comes."""
    status: str
    """As a job's; `waiting` until its turn comes"""
    model: str
    provider: str
    image_urls: tuple[str, ...]
    cost: Decimal | None
    """US dollars of the run's cost; null until it has ended."""
    report: tuple[ReportRow, ...]
    error: ErrorView | None


class JobView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A job at any stage: the answer of generate, and of `GET /api/jobs/{id}`."""

    job_id: str
    status: str
    """scheduled, queued, running, storing, completed, failed, canceled or unknown"""
    runs_at: str | None
    """The batch window that it waits for, or ran in; null for one that ran at once."""
    place: int | None
    """Among those that wait for that window, from 1, as things stand; those that one call of a pipeline can
    serve are taken along with the first of them. Null when it does not wait."""
    schedule: ScheduleView | None
    """Null for a job without a window."""
    model: str
    provider: str
    image_url: str | None
    images: tuple[ImageView, ...]
    cost: Decimal | None
    """US dollars charged; null until the job ends."""
    cost_micros: int | None
    refunded: Decimal | None
    """US dollars of it that were given back; null: none."""
    currency: str
    quote: QuoteView
    report: tuple[ReportRow, ...]
    routing: RoutingView
    attempts: tuple[AttemptView, ...]
    warnings: tuple[str, ...]
    revised_prompt: str | None
    """The prompt that was drawn, where it is another than was asked for."""
    progress: ProgressView | None
    error: ErrorView | None
    user_id: str | None
    delivery: DeliveryShown | None
    """How its end is told, where somebody asked for that."""
    template: str | None
    """Of a template's run: its name."""
    steps: tuple[StepView, ...]
    """Of a template's run, in their order; each is a job of its own, paid for by the run."""
    run_id: str | None
    """Of a step of a run: the run's job."""
    registry_version: str
    created_at: str
    completed_at: str | None


class JobList(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of jobs, newest first."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None
    """Give it as `cursor` for the next page; null on the last."""


class JobCounts(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many jobs there are."""

    total: int
    by_status: dict[str, int]
    """Each status, also one that no job has."""


class EstimateView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a request would cost and send; nothing is spent."""

    model: str
    provider: str
    endpoint: str
    available: bool
    unavailable_because: str | None
    cost: Decimal
    cost_micros: int
    ceiling_micros: int
    """The most that may be charged, by a fallback too."""
    fallbacks: tuple[str, ...]
    """Other models that may serve if this one fails."""
    currency: str
    price: str
    """The price it was worked out from, for people."""
    runs_at: str | None
    """The batch window that it would run in; null: at once."""
    schedule: ScheduleView | None
    """What its window is worth; null: it would run at once."""
    width: int | None
    height: int | None
    num_images: int
    payload: dict[str, Any]
    """What the endpoint would get."""
    report: tuple[ReportRow, ...]
    routing: RoutingView
    warnings: tuple[str, ...]
    revised_prompt: str | None
    """The prompt that would be sent, where it is another than was asked for."""


class RouteView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One way to run a model."""

    provider: str
    endpoint: str
    when: tuple[str, ...]
    tier: str | None
    available: bool
    unavailable_because: str | None


class ModelView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A model of the registry."""

    id: str
    aliases: tuple[str, ...]
    description: str
    provider: str
    status: str
    available: bool
    unavailable_because: str | None
    tasks: tuple[str, ...]
    inputs: dict[str, Any]
    """`{"required": [...], "optional": [...]}`"""
    parameters: dict[str, Any]
    """JSON Schema of each input."""
    price: dict[str, Any]
    routes: tuple[RouteView, ...]


class ModelList(Struct, frozen=True, kw_only=True, rename="camel"):
    """The models of the registry."""

    models: tuple[ModelView, ...]


class HealthView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the gateway can serve."""

    status: str
    checks: dict[str, str] = {}


# Money is exact: a Decimal leaves as a JSON number with its own digits, never through a float.
_encoder = msgspec.json.Encoder(decimal_format="number")


def as_json(body: Struct | dict[str, Any]) -> bytes:
    """A struct as the JSON that leaves."""
    return _encoder.encode(body)


def json_response(
    body: Struct | dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response[Any]:
    """A struct as a JSON response. Encoded here, so handlers may declare what it holds."""
    return Response(
        content=as_json(body),
        status_code=status,
        media_type="application/json",
        headers=headers or {},
    )
