"""The double of OpenAI's Images API, driven by OpenAI's own client: it is not only what we think the API is."""

import base64
import io
from collections.abc import Iterator

import openai
import pytest
from PIL import Image
from support.loopback_openai import KEY, LoopbackOpenAi


@pytest.fixture
def server() -> Iterator[LoopbackOpenAi]:
    with LoopbackOpenAi() as running:
        yield running


@pytest.fixture
def client(server: LoopbackOpenAi) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


def png(width: int, height: int) -> tuple[str, bytes, str]:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return "photo.png", out.getvalue(), "image/png"


def sizes(answer: openai.types.ImagesResponse) -> list[tuple[int, int]]:
    assert answer.data is not None
    found = [base64.b64decode(item.b64_json or "") for item in answer.data]
    return [Image.open(io.BytesIO(data)).size for data in found]


def test_generate(client: openai.OpenAI, server: LoopbackOpenAi) -> None:
    answer = client.images.generate(
        model="gpt-image-1.5", prompt="a fox", n=2, size="1536x1024", quality="low", output_format="webp"
    )
    assert sizes(answer) == [(1536, 1024)] * 2
    assert server.asked == [
        {"model": "gpt-image-1.5", "prompt": "a fox", "n": 2, "size": "1536x1024", "quality": "low",
         "output_format": "webp"}
    ]  # fmt: skip


def test_edit_with_two_pictures_and_a_mask(client: openai.OpenAI, server: LoopbackOpenAi) -> None:
    answer = client.images.edit(
        model="gpt-image-1.5", prompt="at night", image=[png(32, 16), png(8, 8)], mask=png(32, 16), n=1
    )
    assert len(sizes(answer)) == 1
    (asked,) = server.asked
    assert (asked["image[]"], asked["mask"], asked["prompt"]) == ([(32, 16), (8, 8)], [(32, 16)], "at night")


def test_edit_with_one_picture(client: openai.OpenAI, server: LoopbackOpenAi) -> None:
    client.images.edit(model="gpt-image-1.5", prompt="at night", image=png(32, 16))
    assert server.asked[0]["image"] == [(32, 16)]


def test_a_wrong_key(server: LoopbackOpenAi) -> None:
    wrong = openai.OpenAI(base_url=server.base_url, api_key="wrong", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError) as caught:
        client.images.generate(model="gpt-image-1.5", prompt="a fox")
    assert caught.value.code == "invalid_api_key"


def test_a_size_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model="gpt-image-1.5", prompt="a fox", size="512x512")
    assert caught.value.code == "invalid_value"
