"""A user's files on their way to fal: up once, by URL in the payload, never at the price of a submit."""

import asyncio
import base64
import os

import pytest
from support.loopback_fal_client import Kept, call, provider_of
from support.loopback_fal_images import picture

from providers.base import Handle, MediaRef, Succeeded
from providers.conformance import finish
from providers.errors import (
    CredentialsRejected,
    OutputFetchFailed,
    ProviderError,
    ProviderQuota,
    ProviderUnavailable,
    RequestRejected,
)
from providers.fal.uploads import Uploads

PNG = picture(96, 64)
EDIT = "fal-ai/flux/dev/image-to-image"
LORA = "fal-ai/flux-lora"


def kept(key="media/a.png", content_type="image/png", url="https://a.org/cat.png"):
    return MediaRef(url=url, key=key, content_type=content_type, size=len(PNG))


def edit(ref, **files):
    return call(endpoint=EDIT, image_url=ref, media=Kept(**files))


async def sent(fal, provider, given) -> dict[str, object]:
    assert isinstance(await provider.submit(given), Handle)
    return fal.jobs[-1].payload


async def test_a_kept_picture_goes_up(fal, provider):
    handle = await provider.submit(edit(kept("k"), k=PNG))
    (upload,) = fal.uploads.values()
    assert (upload.data, upload.content_type) == (PNG, "image/png")
    assert fal.jobs[0].payload["image_url"] == f"{fal.url}/files/in/0"
    done = await finish(provider, handle)
    assert isinstance(done, Succeeded)
    assert fal.jobs[0].units == 1


async def test_fal_forgets_it_after_a_day_and_never_learns_its_name(fal, provider):
    await provider.submit(edit(kept("k", url="https://a.org/my-face.png"), k=PNG))
    (upload,) = fal.uploads.values()
    assert upload.headers["x-fal-object-lifecycle"] == '{"expiration_duration_seconds":86400}'
    assert upload.headers["x-fal-file-name"] == "input.png"


async def test_the_same_file_goes_up_once_a_call(fal, provider):
    media = Kept(k=PNG)
    given = call(endpoint="fal-ai/face-swap", base_image_url=kept("k"), swap_image_url=kept("k"), media=media)
    payload = await sent(fal, provider, given)
    assert payload["base_image_url"] == payload["swap_image_url"]
    assert (len(fal.uploads), media.reads) == (1, ["k"])


async def test_a_lora_goes_up_from_inside_a_list(fal, provider):
    ref = kept("w", content_type="application/x-safetensors")
    given = call(endpoint=LORA, loras=[{"path": ref, "scale": 0.8}], media=Kept(w=b"weights"))
    payload = await sent(fal, provider, given)
    assert payload["loras"] == [{"path": f"{fal.url}/files/in/0", "scale": 0.8}]
    (upload,) = fal.uploads.values()
    assert upload.headers["x-fal-file-name"] == "input.safetensors"


async def test_an_https_url_that_we_do_not_keep_passes(fal, provider):
    payload = await sent(fal, provider, edit(MediaRef(url="https://a.org/a.png")))
    assert payload["image_url"] == "https://a.org/a.png"
    assert fal.uploads == {}


async def test_a_data_url_goes_up_as_a_file(fal, provider):
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    payload = await sent(fal, provider, edit(MediaRef(url=url)))
    assert payload["image_url"] == f"{fal.url}/files/in/0"
    assert fal.uploads["/files/in/0"].data == PNG


@pytest.mark.parametrize(
    "url", ["s3://b/a.png", "upl_1", "http://a.org/a.png", "data:image/png,abc", "data:image/png;base64,%"]
)
async def test_what_fal_cannot_read_is_refused(fal, provider, url):
    with pytest.raises(RequestRejected):
        await provider.submit(edit(MediaRef(url=url)))
    assert fal.requests == []


async def test_a_token_serves_many_uploads(fal, provider):
    calls = [edit(kept(f"k{n}"), **{f"k{n}": PNG}) for n in range(16)]
    await asyncio.gather(*(provider.submit(given) for given in calls))
    assert len(fal.seen("POST", "/auth/token")) == 1
    assert (len(fal.uploads), len(fal.jobs)) == (16, 16)


async def test_the_key_does_not_go_to_the_cdn(fal, provider):
    await provider.submit(edit(kept("k"), k=PNG))
    (upload,) = fal.uploads.values()
    assert "secret" not in str(upload.headers)


async def test_a_large_file_goes_up_in_parts(fal, provider):
    weights = os.urandom(21 << 20)
    provider._uploads = Uploads(provider._link, provider._addresses, timeout_s=30, one_request_bytes=1 << 20)
    given = call(endpoint=LORA, loras=[{"path": kept("w"), "scale": 1.0}], media=Kept(w=weights))
    await provider.submit(given)
    (upload,) = fal.uploads.values()
    assert upload.data == weights
    assert len(fal.seen("PUT")) == 3


FAULTS: list[tuple[str, type[ProviderError]]] = [
    ("reset", ProviderUnavailable),
    ("lost", ProviderUnavailable),
    ("half", ProviderUnavailable),
    ("silent", ProviderUnavailable),
    ("429", ProviderUnavailable),
    ("500", ProviderUnavailable),
    ("503", ProviderUnavailable),
    ("html", ProviderUnavailable),
    ("empty_object", ProviderUnavailable),
    ("401", CredentialsRejected),
    ("403_balance", ProviderQuota),
    ("422_flat", RequestRejected),
]


@pytest.mark.parametrize("at", ["token", "upload"])
@pytest.mark.parametrize(("kind", "error"), FAULTS)
async def test_an_upload_that_fails_submits_nothing(fal, impatient, at, kind, error):
    provider = impatient(1.0 if kind == "silent" else 20.0)
    fal.fail(at, kind)
    with pytest.raises(ProviderError) as caught:
        await provider.submit(edit(kept("k"), k=PNG))
    assert type(caught.value) is error
    assert fal.jobs == []
    assert isinstance(await provider.submit(edit(kept("k"), k=PNG)), Handle)


@pytest.mark.parametrize("kind", ["500", "lost", "empty_object"])
async def test_an_upload_in_parts_that_fails_submits_nothing(fal, provider, kind):
    provider._uploads = Uploads(provider._link, provider._addresses, timeout_s=5, one_request_bytes=10)
    fal.fail("upload", kind)
    with pytest.raises(ProviderUnavailable):
        await provider.submit(edit(kept("k"), k=PNG))
    assert fal.jobs == []
    assert len(fal.seen("POST", "/multipart")) == 1  # fal-client's ten tries are off


async def test_an_upload_that_ends_elsewhere_is_not_believed(fal):
    provider = provider_of(fal, FAL_CDN_URL=fal.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await provider.submit(edit(kept("k"), k=PNG))
    assert fal.jobs == []
    await provider.aclose()


async def test_our_copy_is_gone(fal, provider):
    class Gone:
        async def read(self, ref):
            raise OutputFetchFailed("our copy is gone")

    with pytest.raises(OutputFetchFailed):
        await provider.submit(call(endpoint=EDIT, image_url=kept("k"), media=Gone()))
    assert fal.requests == []
