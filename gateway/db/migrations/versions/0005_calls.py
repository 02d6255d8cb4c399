"""A candidate takes several calls, and has its own price and report; an attempt says which call it is, and
which prompt was drawn.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("revised_prompt", sa.Text))
    op.add_column("attempt", sa.Column("call_index", sa.Integer, nullable=False, server_default=sa.text("0")))
    job = sa.table(
        "job",
        sa.column("id", sa.String),
        sa.column("request", sa.Text),
        sa.column("report", sa.Text),
        sa.column("warnings", sa.Text),
        sa.column("ceiling_micros", sa.BigInteger),
    )
    conn = op.get_bind()
    for job_id in conn.execute(sa.select(job.c.id)).scalars().all():
        row = conn.execute(sa.select(job).where(job.c.id == job_id)).mappings().one()
        request = json.loads(row["request"])
        price = request.pop("price", None)
        more = {
            "price": price,
            "report": json.loads(row["report"]),
            "warnings": json.loads(row["warnings"]),
            "ceiling_micros": row["ceiling_micros"],
        }
        request["candidates"] = [_with_calls(one) | more for one in request["candidates"]]
        conn.execute(sa.update(job).where(job.c.id == job_id).values(request=json.dumps(request)))


def _with_calls(candidate: dict[str, Any]) -> dict[str, Any]:
    call = {name: candidate.pop(name) for name in ("payload", "num_images", "seed")}
    return {**candidate, "calls": [call]}
