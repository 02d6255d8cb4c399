"""`--set NAME=VALUE`: a template's variables, each as its schema takes it; local files are uploaded."""

import asyncio
import json
import mimetypes
from pathlib import Path
from typing import Any

import rich_click as click

from gateway.client import GatewayClient

__all__ = ["SAMPLE", "SET", "variables_of"]

REFERENCES = ("https://", "http://", "data:", "s3://", "upl_")
WEIGHTS = "application/octet-stream"

SET = click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="A variable; of a picture also a file of this machine, which is uploaded. May be repeated.",
)  # fmt: skip
SAMPLE = click.option(
    "--sample", is_flag=True, help="Take the template's example, where --set says nothing else."
)


async def variables_of(
    client: GatewayClient, name: str, pairs: tuple[str, ...], *, sample: bool
) -> dict[str, Any]:
    """The variables of a run.

    Args:
        client: has the template, and takes files.
        name: the template's.
        pairs: as the command was given them.
        sample: begin with its example.

    Raises:
        click.UsageError: no NAME=VALUE, no variable of it, a file that is not there.
        GatewayFailure: there is no such template; a file is not taken.
    """
    found = await client.call("GET", f"/api/templates/{name}")
    schemas = found["variables"]["properties"]
    variables: dict[str, Any] = dict(found["sample"]) if sample else {}
    for pair in pairs:
        variable, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set {pair!r}: write it as NAME=VALUE")
        if variable not in schemas:
            known = ", ".join(schemas)
            raise click.UsageError(f"--set {pair!r}: {name} has no variable {variable!r}. It has: {known}")
        variables[variable] = await _value(client, variable, schemas[variable], text)
    return variables


async def _value(client: GatewayClient, variable: str, schema: dict[str, Any], text: str) -> Any:
    if "x-kind" in schema:
        return await _reference(client, variable, schema["x-kind"], text)
    if schema["type"] not in ("integer", "number", "boolean"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the gateway says what it takes


async def _reference(client: GatewayClient, variable: str, kind: str, text: str) -> str:
    """A reference as it is; a local file as the id of its upload."""
    if not text or text.startswith(REFERENCES):
        return text
    file = Path(text)
    try:
        data = await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        why = error.strerror or error
        raise click.UsageError(f"--set {variable}={text}: the file cannot be read: {why}") from error
    content_type = WEIGHTS if kind == "lora" else mimetypes.guess_type(file.name)[0] or "image/png"
    return await client.upload(data, content_type)
