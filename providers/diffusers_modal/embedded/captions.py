"""What one may call a scene: words, their synonyms, and many ways to put them together."""

from collections.abc import Callable
from random import Random

from providers.diffusers_modal.embedded.scenes import COLOURS, Landscape, Scene, Shape

__all__ = ["ALIASES", "VOCABULARY", "caption", "plain_caption"]

# The first of each row is the plain word. Forms of several words are learned word by word.
_COLOUR = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise", "cyan"),
    "blue": ("blue", "cobalt", "navy"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "white": ("white",),
    "grey": ("grey", "gray"),
    "black": ("black",),
}
_SHAPE = {
    "circle": ("circle", "disc", "disk", "dot", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "pyramid"),
    "star": ("star",),
}
_SIZE = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
_POSITION = {
    "center": ("in the center", "in the middle", "at the center", "in the centre", "centered"),
    "top": ("at the top", "at the top center", "in the upper middle"),
    "bottom": ("at the bottom", "at the bottom center", "in the lower middle"),
    "left": ("on the left", "at the left", "on the left side", "at the center left"),
    "right": ("on the right", "at the right", "on the right side", "at the center right"),
    "top left": ("at the top left", "in the top left corner", "in the upper left"),
    "top right": ("at the top right", "in the top right corner", "in the upper right"),
    "bottom left": ("at the bottom left", "in the bottom left corner", "in the lower left"),
    "bottom right": ("at the bottom right", "in the bottom right corner", "in the lower right"),
}
_BACKGROUND = ("on {a} background", "on {}", "against {a} background", "{} background", "over {}")
_SKY = {
    "day": ("by day", "in daylight", "at noon", "during the day", "under a blue sky"),
    "sunset": ("at sunset", "at dusk", "in the evening", "at twilight"),
    "night": ("at night", "by night", "at midnight", "under a dark sky"),
    "dawn": ("at dawn", "at sunrise", "in the morning", "in the early morning"),
}
_LAND = {
    "mountains": ("mountains", "mountain", "peaks", "alps"),
    "hills": ("hills", "hill", "meadows", "fields"),
    "sea": ("sea", "ocean", "water", "lake"),
    "desert": ("desert", "dunes", "sand"),
    "forest": ("forest", "woods", "trees"),
}
_SNOWY = ("snowy {}", "snow-covered {}", "{} with snow", "winter {}", "{} in winter")
_ORB = {
    "sun": ("with the sun", "and a sun", "with sunshine", "in sunlight", "sunny"),
    "moon": ("with the moon", "and a moon", "in moonlight", "moonlit", "under a full moon"),
}
_STARS = ("with stars", "under stars", "starry sky", "starry")
_LANDSCAPE = ("", "", "a landscape of ", "a view of ", "scenery with ")

# Joining words carry no attribute, but tell which colour is whose.
_JOINING = ("on", "in", "at", "with", "and", "over", "against", "under", "background", "side", "corner")


def caption(scene: Scene, rng: Random, *, whole: bool = False) -> str:
    """One of the many captions of a scene.

    Args:
        scene: what to say.
        rng: chooses the words and their order.
        whole: say every attribute. Else some captions leave one out.
    """
    said = _always if whole else (lambda share: rng.random() < share)
    return _of_shape(scene, rng, said) if isinstance(scene, Shape) else _of_landscape(scene, rng, said)


def plain_caption(scene: Scene) -> str:
    """The caption that says everything in the plainest words."""
    if isinstance(scene, Shape):
        place = _POSITION[scene.position][0]
        return f"a {scene.size} {scene.colour} {scene.shape} {place} on {_a(scene.background)} background"
    land = f"snowy {scene.land}" if scene.snow else scene.land
    words = [land, _SKY[scene.sky][0], _ORB[scene.orb][0] if scene.orb != "none" else ""]
    return " ".join([*filter(None, words), *(["and stars"] if scene.stars else [])])


def _always(_: float) -> bool:
    return True


def _of_shape(scene: Shape, rng: Random, said: Callable[[float], bool]) -> str:
    size = rng.choice(_SIZE[scene.size]) if said(0.9) else ""
    colour = rng.choice(_COLOUR[scene.colour]) if said(0.96) else ""
    parts = [_a(" ".join(filter(None, [size, colour, rng.choice(_SHAPE[scene.shape])])))]
    if said(0.92):
        parts.append(rng.choice(_POSITION[scene.position]))
    if said(0.92):
        background = rng.choice(_COLOUR[scene.background])
        parts.append(rng.choice(_BACKGROUND).format(background, a=_a(background)))
    if rng.random() < 0.35:
        rng.shuffle(parts)
    return rng.choice((" ", " ", ", ")).join(parts)


def _of_landscape(scene: Landscape, rng: Random, said: Callable[[float], bool]) -> str:
    land = rng.choice(_LAND[scene.land])
    if scene.snow:
        land = rng.choice(_SNOWY).format(land)
    parts = [rng.choice(_LANDSCAPE) + land] if said(0.97) else []
    if said(0.96):
        parts.append(rng.choice(_SKY[scene.sky]))
    # Always: whether silence means none could not be learned where some captions leave one out.
    if scene.orb != "none":
        parts.append(rng.choice(_ORB[scene.orb]))
    if scene.stars and said(0.9):
        parts.append(rng.choice(_STARS))
    if rng.random() < 0.4:
        rng.shuffle(parts)
    return rng.choice((" ", " ", ", ")).join(parts)


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _words() -> list[str]:
    tables = (_COLOUR, _SHAPE, _SIZE, _POSITION, _SKY, _LAND, _ORB)
    phrases = [phrase for table in tables for row in table.values() for phrase in row]
    phrases += [*_SNOWY, *_STARS, *_LANDSCAPE]
    said = {word for phrase in phrases for word in phrase.replace("-", " ").split()} | set(_JOINING)
    return sorted(said - {"a", "the", "of", "by", "{}", "during"})


VOCABULARY = tuple(_words())
"""The words that the model learns, in a fixed order."""

ALIASES = {
    "maroon": "red",
    "lime": "green",
    "aqua": "cyan",
    "indigo": "blue",
    "lilac": "purple",
    "magenta": "pink",
    "round": "circle",
    "sphere": "ball",
    "circular": "circle",
    "giant": "huge",
    "backdrop": "background",
    "daytime": "day",
    "nighttime": "night",
    "alpine": "alps",
    "field": "fields",
    "grassland": "meadows",
    "meadow": "meadows",
    "valley": "hills",
    "beach": "sea",
    "coast": "sea",
    "seascape": "sea",
    "waves": "sea",
    "dune": "dunes",
    "sandy": "sand",
    "jungle": "forest",
    "pines": "forest",
    "tree": "trees",
    "woodland": "woods",
    "snowcapped": "snowy",
    "snowfall": "snow",
    "wintry": "winter",
    "sunlit": "sunny",
}
"""Words that are read as one of `VOCABULARY`."""

if set(_COLOUR) != set(COLOURS):
    raise AssertionError("a colour without a word")
