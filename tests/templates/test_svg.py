"""What an SVG may ask for, and that nothing outside of it is ever read."""

import base64
import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from resvg_py import svg_to_bytes

from templates.errors import TemplateError
from templates.svg import check, render, text_of

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="10">'
RED = (255, 0, 0)


def svg(inside: str) -> str:
    return f"{HEAD}{inside}</svg>"


def red_png() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (20, 10), RED).save(target, "PNG")
    return target.getvalue()


def is_red(picture: Image.Image) -> bool:
    return bool((np.asarray(picture.convert("RGBA")) == (*RED, 255)).all(axis=2).any())


class Asked(HTTPServer):
    """Answers everything with a red picture, and counts."""

    count = 0


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.count += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(red_png())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Asked]:
    with Asked(("127.0.0.1", 0), Answer) as made:
        thread = Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A red picture, in the folder where the process is."""
    file = tmp_path / "secret.png"
    file.write_bytes(red_png())
    monkeypatch.chdir(tmp_path)
    return file


def test_the_renderer_alone_does_read_files(secret: Path) -> None:
    """Why there is a check at all: were it gone, this is what an SVG could show."""
    drawn = svg_to_bytes(svg_string=svg(f'<image href="{secret}" width="20" height="10"/>'))
    assert is_red(Image.open(io.BytesIO(drawn)))


REACHES = [
    '<image href="{file}" width="20" height="10"/>',
    '<image xlink:href="{file}" width="20" height="10"/>',
    '<image xmlns:x="http://www.w3.org/1999/xlink" x:href="{file}" width="20" height="10"/>',
    '<s:image xmlns:s="http://www.w3.org/2000/svg" href="{file}" width="20" height="10"/>',
    '<image href="file://{file}" width="20" height="10"/>',
    '<image href="secret.png" width="20" height="10"/>',
    '<image href="./secret.png" width="20" height="10"/>',
    '<image href=" &#x2f;{file}" width="20" height="10"/>',
    '<image href="{url}" width="20" height="10"/>',
    '<image href="//127.0.0.1:{port}/a.png" width="20" height="10"/>',
    '<image href="data:image/svg+xml;base64,{nested}" width="20" height="10"/>',
    '<image href="data:image/svg+xml;utf8,{quoted}" width="20" height="10"/>',
    '<image href="data:text/plain;base64,{nested}" width="20" height="10"/>',
    '<image href="data:image/png,{quoted}" width="20" height="10"/>',
    '<use href="{file}#a"/>',
    '<use href="{url}#a"/>',
    '<filter id="f"><feImage href="{file}"/></filter><rect width="20" height="10" filter="url(#f)"/>',
    '<filter id="f"><feImage href="#g"/></filter>',
    '<rect width="20" height="10" fill="url({url})"/>',
    '<rect width="20" height="10" fill="url(\'{url}#a\')"/>',
    '<rect width="20" height="10" style="fill: URL( {file} )"/>',
    '<rect width="20" height="10" style="mask: u\\rl({file})"/>',
    '<rect width="20" height="10" fill="url({file}"/>',
    '<style>@import "{url}";</style>',
    "<style>rect {{ fill: url({url}) }}</style>",
    '<rect style="@import url(#a)"/>',
    '<foreignObject width="20" height="10"><img xmlns="http://www.w3.org/1999/xhtml" src="{url}"/></foreignObject>',
    '<script href="{url}"/>',
    "<script>1</script>",
    '<rect onload="1"/>',
    '<g xml:base="{url}"><image href="a.png" width="20" height="10"/></g>',
    '<a href="{url}"><rect/></a>',
    '<set attributeName="href" to="{file}"/>',
    '<image width="20" height="10"><animate attributeName="href" to="{file}"/></image>',
]


@pytest.mark.parametrize("inside", REACHES)
def test_what_reaches_outside_is_refused(inside: str, secret: Path, server: Asked) -> None:
    nested = svg(f'<image href="{secret}" width="20" height="10"/>')
    words = {
        "file": str(secret),
        "port": server.server_port,
        "url": f"http://127.0.0.1:{server.server_port}/a.png",
        "nested": base64.b64encode(nested.encode()).decode(),
        "quoted": quote(nested),
    }
    with pytest.raises(TemplateError, match="line 1 of the overlay"):
        render(svg(inside.format(**words)), 20, 10)
    assert server.count == 0


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE svg [<!ENTITY e SYSTEM "file://{file}">]>',
        '<!DOCTYPE svg [<!ENTITY e "&#60;rect/>">]>',
        '<!DOCTYPE svg SYSTEM "{url}">',
        '<!DOCTYPE svg [<!ATTLIST image href CDATA "{file}">]>',
        '<?xml-stylesheet href="{url}"?>',
    ],
)
def test_document_types_entities_and_instructions_are_refused(head: str, secret: Path, server: Asked) -> None:
    url = f"http://127.0.0.1:{server.server_port}/a.dtd"
    with pytest.raises(TemplateError, match="line 1 of the overlay"):
        render(head.format(file=secret, url=url) + svg('<image width="20" height="10"/>'), 20, 10)
    assert server.count == 0


def test_a_picture_that_is_svg_in_disguise_reads_nothing(secret: Path) -> None:
    """Its name says PNG, so the check lets it pass; the renderer believes the name."""
    nested = base64.b64encode(svg(f'<image href="{secret}" width="20" height="10"/>').encode()).decode()
    for kind in ("png", "jpeg", "webp"):
        drawn = render(
            svg(f'<image href="data:image/{kind};base64,{nested}" width="20" height="10"/>'), 20, 10
        )
        assert drawn.getextrema()[3] == (0, 0)


def test_an_undeclared_entity_and_broken_xml_are_the_authors_fault() -> None:
    for broken in (
        svg("&e;"),
        HEAD,
        svg('<rect width="1" width="2"/>'),
        svg("<rect>"),
        "",
        "\x00",
        svg("\x01"),
        "{}",
    ):
        with pytest.raises(TemplateError, match="is no XML"):
            render(broken, 20, 10)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ('<svg width="20" height="10"/>', "xmlns"),
        ('<html xmlns="http://www.w3.org/2000/svg"/>', "begins with <html>"),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', 'width="20"'),
        ('<svg xmlns="http://www.w3.org/2000/svg" width="20" height="11"/>', 'height="10"'),
        ('<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10" viewBox="0 0 40 20"/>', "viewBox"),
        (svg("<text>By hand</text>"), "text()"),
        (svg("<g>" * 70 + "</g>" * 70), "nested"),
    ],
)
def test_the_root_and_its_words(document: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check(document, 20, 10)
    assert why in str(caught.value)


def test_the_line_is_named() -> None:
    with pytest.raises(TemplateError, match="line 3 of the overlay"):
        check(svg("\n<rect/>\n<script/>"), 20, 10)


def test_what_stands_alone_is_drawn() -> None:
    data = base64.b64encode(red_png()).decode()
    assert is_red(render(svg(f'<image href="data:image/png;base64,{data}" width="20" height="10"/>'), 20, 10))
    gradient = '<linearGradient id="g"><stop stop-color="#f00"/></linearGradient>'
    for paint in ('fill="url(#g)"', 'style="fill:url(#g)"', "fill=\"url( '#g' )\""):
        picture = render(svg(f'<defs>{gradient}</defs><rect width="20" height="10" {paint}/>'), 20, 10)
        assert (picture.mode, picture.size) == ("RGBA", (20, 10))
    assert is_red(
        render(svg('<g id="a"><rect width="9" height="9" fill="#f00"/></g><use href="#a"/>'), 20, 10)
    )


def test_no_font_of_the_machine_is_used() -> None:
    assert render(svg('<text y="9">Words</text>'), 20, 10, words=True).getextrema()[3] == (0, 0)


def test_whether_there_is_anything_to_draw() -> None:
    assert not check(svg("<desc>A</desc><defs></defs><g/>"), 20, 10)
    assert check(svg("<defs><circle/></defs>"), 20, 10)


def test_text_of() -> None:
    assert text_of(svg("<text>a<tspan> &lt;b&gt;</tspan></text><text/><rect/><text>&amp;amp;</text>")) == [
        "a <b>",
        "",
        "&amp;",
    ]


def test_half_a_character_is_refused() -> None:
    with pytest.raises(TemplateError, match="half a character"):
        check(svg("<desc>\ud800</desc>"), 20, 10)
