"""What spans are called by: OpenTelemetry's names, and ours where it has none.

Written down here because the package with its names marks those for generative AI as unstable, and a name
that changes with an upgrade would empty somebody's dashboard. A test compares them with the conventions 1.44.
"""

Value = str | int | float | bool
Attributes = dict[str, Value]

# HTTP and errors: stable.
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"
PATH = "url.path"
SCHEME = "url.scheme"
ERROR = "error.type"
"""Of ours the code that `docs/errors.md` lists; else the name of a Python class."""

# Generative AI: in development.
GENERATE = "generate_content"
OPERATION = "gen_ai.operation.name"
OUTPUT = "gen_ai.output.type"
GEN_PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
CHOICES = "gen_ai.request.choice.count"
SEED = "gen_ai.request.seed"
RESPONSE_ID = "gen_ai.response.id"
MESSAGES = "gen_ai.input.messages"

# Ours.
JOB = "gateway.job.id"
REQUEST_ID = "gateway.request.id"
ACCOUNT = "gateway.account.id"
MODEL = "gateway.model"
PROVIDER = "gateway.provider"
ENDPOINT = "gateway.endpoint"
ATTEMPT = "gateway.attempt"
ATTEMPT_ID = "gateway.attempt.id"
RECOVERED = "gateway.recovered"
"""Another process had the job before: its own span of it ended with that process."""
INTERRUPTED = "gateway.interrupted"
"""The process stopped, or the client went away, in the middle of it."""
OUTCOME = "gateway.outcome"
COST = "gateway.cost_micros"
IMAGES = "gateway.images"
TEMPLATE = "gateway.template"
STEP = "gateway.step"
DELIVERY = "gateway.delivery.kind"
DELIVERY_ID = "gateway.delivery.id"
DELIVERY_OUTCOME = "gateway.delivery.outcome"
TRY = "gateway.delivery.try"
