"""SVGs of providers: what is let through, and what is not kept although it was paid for."""

import pytest
from support.loopback_fal_images import vector

from gateway.verify import BrokenImage
from gateway.verify_svg import MOST_BYTES, verify_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="20"'


def svg(inside: str = "", more: str = "") -> bytes:
    return f"{HEAD}{more}>{inside}</svg>".encode()


GOOD = {
    "as Recraft makes it": (vector(640, 480), (640, 480)),
    "shapes": (svg("<g><path d='M0 0'/><text>a &amp; b</text></g>"), (10, 20)),
    "pixels": (b'<svg xmlns="http://www.w3.org/2000/svg" width="10.4px" height="20 px"/>', (10, 20)),
    "a view box": (b'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0,0 30 40"/>', (30, 40)),
    "a byte order mark": (b"\xef\xbb\xbf" + svg(), (10, 20)),
    "a use of its own": (svg('<defs><g id="a"/></defs><use href="#a"/><rect fill="url(#a)"/>'), (10, 20)),
    "a picture within": (svg('<image href="data:image/png;base64,iVBORw0KGgo="/>'), (10, 20)),
    "a style": (svg("<style>.a{fill:red;filter:url( '#f')}</style>"), (10, 20)),
    "an editor's own": (svg('<x:grid xmlns:x="http://www.inkscape.org/namespaces/inkscape"/>'), (10, 20)),
}

BAD = {
    "a script": svg("<script>alert(1)</script>"),
    "a script of another name space": svg('<script xmlns="">alert(1)</script>'),
    "an event handler": svg(more=' onload="alert(1)"'),
    "an event handler, loud": svg('<path ONCLICK="x"/>'),
    "a foreign object": svg("<foreignObject><b/></foreignObject>"),
    "another document": svg('<b xmlns="http://www.w3.org/1999/xhtml"/>'),
    "a link to elsewhere": svg('<image href="https://evil.test/x.png"/>'),
    "an old link": svg('<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="//evil.test/#a"/>'),
    "a link that runs": svg('<a href=" java\tscript:alert(1)"><path/></a>'),
    "an SVG within": svg('<image href="data:image/svg+xml;base64,AAAA"/>'),
    "a style that fetches": svg("<style>@import 'https://evil.test/x.css';</style>"),
    "a fill that fetches": svg('<path fill="url(https://evil.test/#a)"/>'),
    "a fill that fetches, in quotes": svg("<path fill=\"url( '//evil.test/#a')\"/>"),
    "an animation": svg('<set attributeName="href" to="x"/>'),
    "a document type": b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg("&a;"),
    "a style sheet": b'<?xml-stylesheet href="x.css"?>' + svg(),
    "HTML": b"<html><body/></html>",
    "no name space": b'<svg width="1" height="1"/>',
    "no size": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an absurd size": b'<svg xmlns="http://www.w3.org/2000/svg" width="999999" height="999999"/>',
    "no edge": b'<svg xmlns="http://www.w3.org/2000/svg" width="0" height="5"/>',
    "cut short": vector(64, 64)[:-8],
    "more behind": svg() + b"x",
    "nested without end": svg("<g>" * 300 + "</g>" * 300),
    "nothing": b"",
    "too large": svg(" " * MOST_BYTES),
}


@pytest.mark.parametrize(("data", "size"), GOOD.values(), ids=GOOD)
def test_is_kept(data: bytes, size: tuple[int, int]) -> None:
    found = verify_svg(data)
    assert (found.content_type, found.extension, found.width, found.height) == ("image/svg+xml", "svg", *size)


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_is_not_kept(data: bytes) -> None:
    with pytest.raises(BrokenImage):
        verify_svg(data)
