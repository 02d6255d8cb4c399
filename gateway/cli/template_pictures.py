"""`gateway template thumbnail`, `gateway template samples`: pictures of templates, of their examples."""

import asyncio
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rich_click as click

from gateway.cli.connect import MESSAGES, open_gateway
from gateway.cli.follow import warn
from gateway.cli.template_run import run_job
from gateway.client import GatewayClient
from gateway.settings import load_settings
from gateway.template_files import THUMBNAIL
from gateway.verify import extension_of
from templates.engine import Template
from templates.library import TemplateLibrary
from templates.rows import FORMATS

__all__ = ["samples", "thumbnail"]

EDGE = 480
"""Pixels of a thumbnail's longer edge."""
QUALITY = 82
SEED = click.option(
    "--seed", type=int, default=7, show_default=True, help="The same seed gives the same pictures."
)


@click.command()
@click.argument("name")
@click.option("--output", help="Which of its outputs; the first by default.")
@click.option("--preview", is_flag=True, help="Over a scene that is drawn by rule: free, without a model.")
@SEED
def thumbnail(name: str, output: str | None, preview: bool, seed: int) -> None:
    """Make thumbnail.webp in the folder of the template NAME, from its example."""
    asyncio.run(_thumbnail(_local(name), output, preview, seed))


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder; one of each template is made in it.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="webp", show_default=True, help="Of the files."
)
@click.option("--thumbnails", is_flag=True, help="Make their thumbnails too, of the same runs.")
@SEED
def samples(names: tuple[str, ...], out: Path, form: str, thumbnails: bool, seed: int) -> None:
    """Run the templates NAMES, or all of them, from their examples, and write their files to --out."""
    library = TemplateLibrary.load(load_settings().templates_dir).templates
    found = [_local(name) for name in names] or list(library.values())
    asyncio.run(_samples(found, out, form, thumbnails, seed))


def _local(name: str) -> Template:
    library = TemplateLibrary.load(load_settings().templates_dir).templates
    if name not in library:
        raise click.UsageError(f"There is no template {name!r} here. There is: {', '.join(library)}")
    return library[name]


async def _thumbnail(template: Template, output: str | None, preview: bool, seed: int) -> None:
    async with open_gateway(load_settings(), run_jobs=not preview) as client:
        body = await _example(client, template, seed)
        wanted = output or next((one.name for one in template.row.outputs), None)
        body |= {"outputs": [wanted], "format": "png"} if wanted is not None else {}
        if preview:
            _, data = await client.file("POST", f"/api/templates/{quote(template.name)}/preview", body)
        else:
            job = await run_job(client, template.name, body)
            warn(job)
            data = await client.image(job["images"][0]["id"])
        click.echo(str(await asyncio.to_thread(_write_thumbnail, template, data)))


async def _samples(templates: list[Template], out: Path, form: str, thumbnails: bool, seed: int) -> None:
    async with open_gateway(load_settings()) as client:
        for template in templates:
            body = await _example(client, template, seed)
            body |= {"format": form} if template.row.outputs else {}
            begun = time.monotonic()
            job = await run_job(client, template.name, body)
            words = f"{template.name}: {job['cost']} USD, {time.monotonic() - begun:.1f} s"
            MESSAGES.print(words, highlight=False, markup=False)
            warn(job)
            first: bytes | None = None
            for number, image in enumerate(job["images"], start=1):
                data = await client.image(image["id"])
                first = first or data
                name = f"{image['name'] or number}.{extension_of(image['contentType'])}"
                click.echo(str(await asyncio.to_thread(_write, out / template.name, name, data)))
            if thumbnails and first is not None and form != "pdf":
                click.echo(str(await asyncio.to_thread(_write_thumbnail, template, first)))


async def _example(client: GatewayClient, template: Template, seed: int) -> dict[str, Any]:
    """The body of a run of a template's own example.

    Raises:
        click.UsageError: the gateway has another version of the template than lies here.
    """
    shown = await client.call("GET", f"/api/templates/{quote(template.name)}")
    if shown["version"] != template.version:
        raise click.UsageError(
            f"{template.name} of the gateway is not what lies at {template.folder}: reload it "
            "(POST /api/admin/registry/reload) or see that GATEWAY_TEMPLATES_DIR is the same for both"
        )
    options = {"seed": seed} if any(step.do == "generate" for step in template.row.steps) else {}
    return {"variables": shown["sample"], "options": options}


def _write(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def _write_thumbnail(template: Template, data: bytes) -> Path:
    """A picture in the template's folder, small, as WebP."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        picture.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
        target = BytesIO()
        picture.convert("RGB").save(target, "WEBP", quality=QUALITY)
    return _write(Path(str(template.folder)), THUMBNAIL, target.getvalue())
