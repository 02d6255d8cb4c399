"""What a template's folder has beside its rules: a thumbnail, and its sample's pictures. Blocks."""

import base64
import mimetypes
from typing import Any

from templates.engine import Template
from templates.rows import TemplateRow

__all__ = ["THUMBNAIL", "has_thumbnail", "sample_of", "sample_pictures", "thumbnail_of"]

THUMBNAIL = "thumbnail.webp"


def has_thumbnail(template: Template) -> bool:
    """Whether the folder has one."""
    return template.folder.joinpath(THUMBNAIL).is_file()


def thumbnail_of(template: Template) -> bytes | None:
    """The folder's thumbnail, WebP; None where it has none."""
    try:
        return template.folder.joinpath(THUMBNAIL).read_bytes()
    except FileNotFoundError:
        return None


def sample_pictures(row: TemplateRow) -> dict[str, str]:
    """The files of the folder that a sample names, by variable."""
    return {
        name: str(value)
        for name, value in row.sample.items()
        if row.variables[name].type == "image" and value is not None
    }


def sample_of(template: Template) -> dict[str, Any]:
    """The variables of its example as a caller may send them.

    Raises:
        OSError: a picture that it names is not in the folder.
    """
    files = sample_pictures(template.row)
    return {
        name: _data_url(template, files[name]) if name in files else value
        for name, value in template.row.sample.items()
    }


def _data_url(template: Template, file: str) -> str:
    kind = mimetypes.guess_type(file)[0] or "image/png"
    data = template.folder.joinpath(file).read_bytes()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
