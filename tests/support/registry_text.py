"""The smallest registry that says one of everything, and edits of its text."""

from registry.load import parse_registry
from registry.schema import Catalogue

TEXT = """\
providers:
  own: {type: diffusers_modal}
tiers:
  local: {memory_gb: 4, per_second: "0"}
vocabulary:
  prompt: {type: string, matters: picture, max_length: 100, about: Words}
  width: {type: integer, matters: picture, min: 16, max: 4096, about: Pixels}
  height: {type: integer, matters: picture, min: 16, max: 4096, about: Pixels}
  size: {type: size, matters: picture, aliases: [image_size], about: Both}
  aspect_ratio: {type: ratio, matters: picture, about: Ratio}
  resolution: {type: string, matters: picture, enum: [1K, 2K], about: Area}
  num_images: {type: integer, matters: picture, min: 1, max: 16, aliases: [n], about: Count}
  num_inference_steps: {type: integer, min: 1, max: 200, aliases: [steps], about: Steps}
  seed: {type: integer, min: 0, max: 9007199254740991, about: Seed}
  scheduler: {type: string, values: {k_euler: euler}, about: Sampler}
  image_url: {type: reference, matters: picture, aliases: [image], about: Image}
  loras: {type: loras, matters: picture, about: LoRAs}
  lora_url: {type: reference, matters: picture, about: LoRA}
  lora_scale: {type: number, matters: picture, min: -4, max: 4, about: Weight}
dialects:
  base:
    size: {style: width_height, default: 512x512, min: 64, max: 1024, multiple_of: 8}
    parameters:
      prompt: {}
      num_inference_steps: {max: 50, default: 20}
  more:
    extends: base
    parameters:
      seed: {max: 100}
      tiling: {native: true, type: boolean, about: Seamless}
models:
  one:
    description: First
    tasks: [text-to-image]
    aliases: [uno]
    price: {per_image: "0.02"}
    routes:
      - provider: own
        endpoint: e/one
        dialect: more
        provider_cost: {per_image: "0.01"}
        pipeline: {source: e/one, class: P, tier: local, dtype: float32}
        parameters:
          scheduler: {enum: [euler, ddim]}
  two:
    description: Second
    tasks: [text-to-image]
    price: {per_megapixel: "0.02"}
    routes:
      - {provider: own, endpoint: e/two, dialect: base, provider_cost: {per_megapixel: "0.01"}}
intents:
  quick: {about: Fast, models: [two, one]}
default: [one]
"""


def edited(*edits: tuple[str, str]) -> str:
    """The text after some replacements, each of something that stands in it exactly once."""
    text = TEXT
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return text


def small(*edits: tuple[str, str]) -> Catalogue:
    """The small registry, loaded, after some edits."""
    return parse_registry(edited(*edits), "small.yaml")
