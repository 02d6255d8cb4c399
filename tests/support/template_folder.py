"""Folders of templates, written by tests."""

from pathlib import Path

POSTER = """\
title: Poster
description: A scene, made larger, with words on it
variables:
  headline: {type: string, required: true, max_length: 80, about: Words}
  photo: {type: image, about: A picture to begin with}
  locale: {type: locale, default: en, about: Language}
sample: {headline: Hello}
steps:
  - {name: scene, do: generate, use: [{model: solo}]}
  - {name: large, do: upscale, of: scene, use: [{model: grow}], optional: true}
outputs:
  - {name: wide, width: 240, height: 80, safe: 0.05}
  - {name: tall, width: 90, height: 200, format: jpeg, safe: 0.05}
"""
PROMPT = "a scene for {{ headline }}"
OVERLAY = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}">
{{ text("headline", size=24, min_size=10, max_lines=3) }}
</svg>
"""


def write_template(
    root: Path, name: str, row: str = POSTER, *, prompt: str | None = PROMPT, overlay: str | None = OVERLAY
) -> Path:
    """A template's folder in a folder of templates."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "template.yaml").write_text(row)
    for file, text in (("prompt.jinja", prompt), ("overlay.svg.jinja", overlay)):
        if text is not None:
            (folder / file).write_text(text)
    return folder
