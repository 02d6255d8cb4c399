"""`POST /api/templates/{name}/preview`: composed at once, without a model; nothing is kept."""

import asyncio
import base64
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from PIL import Image
from sqlalchemy import func, select
from support.closed_app import client, closed_app, litestar
from support.people import BY
from support.template_folders import OVERLAY, ROW, write_template

from gateway.accounts.principals import OPERATOR
from gateway.admission import PER_KEY
from gateway.ambient import Ambient
from gateway.app import create_app
from gateway.core import Core
from gateway.db.tables import job, media
from gateway.guard import Guard
from gateway.lifespan import running
from gateway.previews import MOST_EDGE, MOST_WAITING
from gateway.settings import load_settings

URL = "/api/templates/sale-card/preview"
JSON = {"Accept": "application/json"}
WORDS = {"words": "Everything must go"}
PRODUCT = ROW.replace(
    "outputs:\n",
    "  - {name: cut, do: remove-background, of: photo, only_if: no-cutout, when: [photo], use: [{model: CUTTER}]}\n"
    "scene: scene\nproduct: {of: photo}\noutputs:\n  - {name: wide, width: 1400, height: 700}\n",
)


@pytest.fixture
async def core_and_api(tmp_path: Path) -> AsyncIterator[tuple[Core, httpx.AsyncClient]]:
    """A gateway with templates of the tests' own: `sale-card`, one with a product, one that composes nothing."""
    root = tmp_path / "mine"
    write_template(root)
    write_template(root, "product", PRODUCT.replace("CUTTER", "embedded-mini"))
    write_template(root, "no-cutter", PRODUCT.replace("CUTTER", "nowhere"))
    write_template(root, "long", ROW.replace("max_length: 40", "max_length: 200"))
    plain = write_template(root, "plain", ROW[: ROW.index("outputs:")])
    (plain / "overlay.svg.jinja").unlink()
    beyond = OVERLAY.replace("safe.height", "safe.height * (2 if words == 'x' else 1)")
    write_template(root, "broken", overlay=beyond)
    env = {"GATEWAY_DATA_DIR": str(tmp_path / "data"), "GATEWAY_TEMPLATES_DIR": str(root)}
    app = create_app(load_settings(env))
    assert isinstance(app, Guard)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        assert isinstance(app.app, Litestar)
        yield app.app.state.core, http


@pytest.fixture
def api(core_and_api) -> httpx.AsyncClient:
    return core_and_api[1]


def opened(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def colors_of(picture: Image.Image) -> set[tuple[int, ...]]:
    """Every colour that a picture has."""
    found = picture.convert("RGB").getcolors(1 << 24)
    assert found is not None
    return {color for _, color in found}


def data_url(picture: Image.Image, **how: Any) -> str:
    file = BytesIO()
    picture.save(file, "PNG", **how)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


async def test_the_file_of_one_output(api) -> None:
    for query, form, size in (("", "PNG", (300, 100)), ("?output=tile", "JPEG", (120, 120))):
        answer = await api.post(URL + query, json={"variables": WORDS})
        assert answer.status_code == 200, answer.text
        picture = opened(answer.content)
        assert (picture.format, picture.size) == (form, size)
        assert answer.headers["content-type"] == f"image/{form.lower()}"
        assert answer.headers["cache-control"] == "no-store"
        # There is a scene and there are words on it.
        assert len(colors_of(picture)) > 100


async def test_in_the_format_that_is_asked_for(api) -> None:
    answer = await api.post(f"{URL}?output=tile", json={"variables": WORDS, "format": "pdf"})
    assert (answer.headers["content-type"], answer.content[:5]) == ("application/pdf", b"%PDF-")
    assert 'filename="sale-card-tile.pdf"' in answer.headers["content-disposition"]


async def test_all_of_them_with_where_their_words_stand(api) -> None:
    answer = await api.post(URL, json={"variables": WORDS}, headers=JSON)
    shown = answer.json()
    assert (shown["template"], shown["warnings"]) == ("sale-card", [])
    card, tile = shown["outputs"]
    assert (card["name"], card["width"], card["height"], card["contentType"]) == (
        "card",
        300,
        100,
        "image/png",
    )
    assert (tile["name"], tile["contentType"]) == ("tile", "image/jpeg")
    for one in (card, tile):
        (text,) = one["texts"]
        assert (text["name"], text["text"]) == ("words", "Everything must go")
        assert " ".join(text["lines"]) == "Everything must go"
        assert text["contrast"] >= 4.5
        assert 0 <= text["x"] <= text["x"] + text["width"] <= one["width"]
        kind, _, data = one["dataUrl"].partition(",")
        assert kind == "data:image/webp;base64"
        assert opened(base64.b64decode(data)).size == (one["width"], one["height"])


async def test_what_is_large_is_shown_small(api) -> None:
    body = {"variables": WORDS, "outputs": ["wide"]}
    (wide,) = (await api.post("/api/templates/product/preview", json=body, headers=JSON)).json()["outputs"]
    assert (wide["width"], wide["height"]) == (1400, 700)
    shown = opened(base64.b64decode(wide["dataUrl"].partition(",")[2]))
    assert shown.size == (MOST_EDGE, MOST_EDGE // 2)


async def test_the_same_request_gives_the_same_picture(api) -> None:
    first, again = [(await api.post(URL, json={"variables": WORDS})).content for _ in range(2)]
    other = (await api.post(URL, json={"variables": {"words": "Something else"}})).content
    assert first == again != other


async def test_nothing_is_kept(core_and_api) -> None:
    core, api = core_and_api
    logo = data_url(Image.new("RGB", (40, 20), "red"))
    answer = await api.post(URL, json={"variables": {**WORDS, "photo": logo}})
    assert answer.status_code == 200
    for table in (job, media):
        assert (
            await core.db.read(lambda c, t=table: c.execute(select(func.count()).select_from(t)).scalar())
            == 0
        )
    assert not any((core.settings.data_dir / "store").rglob("*.*"))


async def test_every_word_of_a_run_is_kept_and_of_a_picture_its_beginning(core_and_api) -> None:
    core, api = core_and_api
    words = "data: " + "all of them " * 9
    body = {"variables": {"words": words, "photo": data_url(Image.new("RGB", (40, 20), "red"))}}
    answer = await api.post("/api/templates/long", json={**body, "schedule": "window"})
    assert answer.status_code == 202, answer.text
    run = (await core.job(answer.json()["jobId"], None)).admitted.run
    assert run.variables["words"] == words
    assert len(run.variables["photo"]) < 100


async def test_wrong_variables_are_told_as_a_run_tells_them(api) -> None:
    for path in (URL, "/api/templates/sale-card/estimate", "/api/templates/sale-card"):
        problem = (await api.post(path, json={"variables": {"wordz": "x", "price": "y"}})).json()
        assert problem["code"] == "invalid_variables"
        assert {(f["pointer"], f["code"]) for f in problem["errors"]} == {
            ("/variables/wordz", "unknown_variable"),
            ("/variables/words", "missing"),
            ("/variables/price", "not_allowed"),
        }


@pytest.mark.parametrize(("words", "code"), [("W" * 40, "text_too_long"), ("a\ue000b", "no_glyph")])
async def test_words_that_cannot_be_set_are_told_by_the_variable(api, words, code) -> None:
    for path in (URL, "/api/templates/sale-card"):
        answer = await api.post(path, json={"variables": {"words": words}})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_variables")
        assert {(f["pointer"], f["code"]) for f in problem["errors"]} == {("/variables/words", code)}


@pytest.mark.parametrize(
    "words", ["</text><script>", "{{ 7*7 }}", "&amp; ]]>", "<image href='file:///etc/passwd'/>"]
)
async def test_hostile_words_are_words(api, words) -> None:
    shown = (await api.post(URL, json={"variables": {"words": words}}, headers=JSON)).json()
    assert shown["outputs"][0]["texts"][0]["text"] == words


async def test_an_output_that_is_not_there(api) -> None:
    problem = (await api.post(f"{URL}?output=poster", json={"variables": WORDS})).json()
    assert problem["code"] == "invalid_query"
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["allowed"]) == (
        "/query/output",
        "card, tile",
    )
    problem = (await api.post(URL, json={"variables": WORDS, "outputs": ["card", "poster"]})).json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_inputs", "/outputs/1")


async def test_a_picture_that_cannot_be_used(api) -> None:
    for photo, said in (("upl_none", "no upload of yours"), ("data:image/png;base64,AAAA", "")):
        problem = (await api.post(URL, json={"variables": {**WORDS, "photo": photo}})).json()
        (fault,) = problem["errors"]
        assert (problem["code"], fault["pointer"], fault["code"]) == (
            "invalid_variables", "/variables/photo", "invalid_reference",
        )  # fmt: skip
        assert said in fault["message"]


async def test_a_template_that_composes_nothing(api) -> None:
    answer = await api.post("/api/templates/plain/preview", json={"variables": WORDS})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_preview")


async def test_a_fault_of_the_template_is_its_authors(api) -> None:
    answer = await api.post("/api/templates/broken/preview", json={"variables": {"words": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (503, "template_broken")
    assert "the safe area" in answer.json()["detail"]


def busy(size: tuple[int, int] = (60, 60)) -> Image.Image:
    """A picture from which nothing can be cut out by rule."""
    return Image.effect_noise(size, 120).convert("RGB")


async def test_a_product_is_the_callers_own(api) -> None:
    cut = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    cut.paste((250, 10, 10, 255), (50, 20, 150, 180))
    body = {"variables": {**WORDS, "photo": data_url(cut)}, "outputs": ["wide"], "format": "png"}
    answer = await api.post("/api/templates/product/preview", json=body)
    assert answer.status_code == 200, answer.text
    assert (250, 10, 10) in colors_of(opened(answer.content))


async def test_a_product_that_a_model_would_cut_out_is_shown_whole(api) -> None:
    body = {"variables": {**WORDS, "photo": data_url(busy())}, "outputs": ["wide"]}
    answer = await api.post("/api/templates/product/preview", json=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["warnings"] == ["a run removes the background of photo, by a model"]
    refused = await api.post("/api/templates/no-cutter/preview", json=body)
    (fault,) = refused.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/variables/photo", "no_cutout")


async def test_what_waits_is_not_without_end(core_and_api) -> None:
    core, api = core_and_api
    # Whoever composes now does not come to an end.
    for _ in range(2):
        await core.previews._slots.acquire()
    asked = [asyncio.create_task(api.post(URL, json={"variables": WORDS})) for _ in range(MOST_WAITING)]
    while core.previews._waiting < MOST_WAITING:
        await asyncio.sleep(0)
    answer = await api.post(URL, json={"variables": WORDS})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        503,
        "too_busy",
        "1",
    )
    for _ in range(2):
        core.previews._slots.release()
    assert {one.status_code for one in await asyncio.gather(*asked)} == {200}


async def test_they_count_as_other_requests_do(tmp_path) -> None:
    now = Ambient().now_ms()
    # The clock stands still: nothing comes back into a bucket.
    async with closed_app(tmp_path / "data", Ambient(now_ms=lambda: now)) as app:
        core: Core = litestar(app).state.core
        made = await core.accounts.create("x", tier="normal", admin=False, postpaid=True, balance=None, by=BY)
        assert made.account.id != OPERATOR
        _, key = await core.accounts.create_key(
            made.account.id, "x", expires_in_days=None, scopes=frozenset(("read",)), by=BY
        )
        async with client(app, key.text) as http:
            # Each is counted before its words are looked at.
            codes = [
                (await http.post("/api/templates/billboard/preview", json={"variables": {}})).json()["code"]
                for _ in range(PER_KEY.burst + 1)
            ]
    assert codes == ["invalid_variables"] * PER_KEY.burst + ["too_many_requests"]
