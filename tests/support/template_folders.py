"""Templates of a test's own, as an author writes them."""

from pathlib import Path

from PIL import Image

__all__ = ["OVERLAY", "PROMPT", "ROW", "write_template"]

ROW = """\
title: Sale card
description: A card for a window.
variables:
  words: {type: string, required: true, max_length: 40, about: What it says}
  price: {type: money, max: 500, about: What it costs}
  text: {type: string, enum: [overlay, model], default: overlay, about: Who sets the words}
  photo: {type: image, about: A photo}
sample: {words: Everything must go, photo: photo.png}
steps:
  - name: scene
    do: generate
    use:
      - {if: {text: [model]}, intent: text_heavy}
      - {model: embedded-mini}
    inputs: {size: 128x64, num_inference_steps: 2}
outputs:
  - {name: card, width: 300, height: 100, about: For the window}
  - {name: tile, width: 120, height: 120, format: jpeg}
"""
PROMPT = "a shop window, {{ words }}\n"
OVERLAY = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}" viewBox="0 0 {{ w }} {{ h }}">
{{ text("words", x=safe.x, y=safe.y, width=safe.width, height=safe.height, size=40, min_size=8) }}
</svg>
"""


def write_template(
    root: Path, name: str = "sale-card", row: str = ROW, prompt: str = PROMPT, overlay: str = OVERLAY
) -> Path:
    """Write a template's folder, with a photo and a thumbnail; the folder."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "template.yaml").write_text(row)
    (folder / "prompt.jinja").write_text(prompt)
    (folder / "overlay.svg.jinja").write_text(overlay)
    Image.new("RGB", (8, 8), "teal").save(folder / "photo.png")
    Image.new("RGB", (8, 8), "teal").save(folder / "thumbnail.webp")
    return folder
