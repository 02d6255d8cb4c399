"""A request's references: each fetched once, checked and kept, before anything is spent."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select
from support.people import premium
from support.scripted_provider import SCRIPTED_TYPES, SCRIPTS, done, picture, script_of
from support.small_registry import MODELS, model, route, small_catalog
from support.web_server import WebServer, page

from billing import ledger
from gateway.accounts import rows
from gateway.accounts.principals import OPERATOR
from gateway.ambient import Ambient
from gateway.core import Core
from gateway.db.engine import open_database
from gateway.db.migrate import upgrade
from gateway.db.tables import attempt
from gateway.jobs import queries
from gateway.jobs.records import JobRow
from gateway.media.fetch import Fetcher
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from gateway.settings import load_settings
from gateway.storage import open_store
from providers.base import MediaRef
from providers.discovery import Providers
from providers.errors import OutputFetchFailed
from registry.errors import InvalidInputs
from templates.library import TemplateLibrary

PNG = picture()
DATA = "data:image/png;base64," + base64.b64encode(PNG).decode()
SVG = "data:image/svg+xml,<svg/>"
COUNTED = {"per_megapixel": "0.02", "input_megapixels": True}
HEADER = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
LORA = len(HEADER).to_bytes(8, "little") + HEADER + b"xy"


def takes() -> dict[str, dict[str, str]]:
    return {
        "image_url": {},
        "mask_url": {"send": "mask"},
        "reference_image_urls": {"send": "images"},
        "loras": {"shape": "loras"},
    }


@pytest.fixture
async def core(tmp_path: Path, good, trusted) -> AsyncIterator[Core]:
    """A whole core; the server at 127.0.0.1 counts as the open internet."""
    settings = load_settings({"GATEWAY_DATA_DIR": str(tmp_path)})
    await asyncio.to_thread(upgrade, settings.database_url, at=1)
    routes = (route("first", parameters=takes()), route("second", parameters=takes()))
    counts = route("first", parameters=takes(), provider_cost=dict(COUNTED))
    by_inputs = model(counts, price={"per_megapixel": "0.03", "input_megapixels": True})
    catalog = small_catalog({**MODELS, "all": model(*routes), "counts": by_inputs})
    parts = Parts(
        catalog=catalog,
        templates=TemplateLibrary({}),
        providers=Providers(catalog.data.providers, {}, str(tmp_path), SCRIPTED_TYPES),
        images=open_store((tmp_path / "store").as_uri()),
        secrets=(b"x" * 32,),
    )
    core = Core(settings=settings, parts=parts, db=open_database(settings.database_url), ambient=Ambient())
    core.media.fetcher = Fetcher(
        lookup=lambda host, port: ["127.0.0.1"],
        public=lambda address: True,
        ports={good.port},
        ssl_context=trusted,
    )
    for name in (OPERATOR, "acc_other"):
        await core.db.write(
            lambda c, name=name: rows.ensure_account(c, account_id=name, name=name, postpaid=True, at=1)
        )
    script_of(str(tmp_path), "first").answers(submit=[done()])
    yield core
    await core.aclose()
    SCRIPTS.clear()


@pytest.fixture
def submit(core, tmp_path):
    async def submit(account=OPERATOR, options=None, **inputs):
        """The payload that the provider got, and the call."""
        request = GenerateRequest(model="all", inputs={"prompt": "x", **inputs}, options=options or {})
        job_id = await core.admission.submit(request, premium(account))
        await core.runner.wait(job_id, 20)
        (call,) = script_of(str(tmp_path), "first").calls
        return call

    return submit


async def faults_of(core: Core, account=OPERATOR, options=None, **inputs) -> dict[str, str]:
    request = GenerateRequest(model="all", inputs={"prompt": "x", **inputs}, options=options or {})
    with pytest.raises(InvalidInputs) as caught:
        await core.admission.submit(request, premium(account))
    assert {fault.code for fault in caught.value.faults} == {"invalid_reference"}
    # Nothing was spent, no job was made.
    assert await core.db.read(lambda c: queries.list_jobs(c, account, limit=9)) == []
    assert (await core.db.read(lambda c: ledger.balance(c, account))).held_micros == 0
    return {fault.pointer: fault.message for fault in caught.value.faults}


async def test_a_provider_gets_our_copy(submit, core) -> None:
    call = await submit(image_url=DATA)
    ref = call.payload["image_url"]
    assert isinstance(ref, MediaRef)
    assert (ref.content_type, ref.url.startswith("data:image/png;base64,"), len(ref.url) < 100) == (
        "image/png",
        True,
        True,
    )
    data = await call.media.read(ref)
    assert (len(data), ref.key.startswith("media/med_")) == (ref.size, True)
    assert data.startswith(b"\x89PNG")


async def test_each_reference_is_fetched_once(submit, good) -> None:
    good.pages["/a.png"] = page(PNG)
    url = f"https://good.test:{good.port}/a.png"
    call = await submit(image_url=url, mask_url=url, reference_image_urls=[url, DATA, url])
    assert good.connections == 1
    payload = call.payload
    assert payload["image_url"] == payload["mask"] == payload["images"][0] == payload["images"][2]
    assert payload["images"][1].key != payload["images"][0].key


async def test_a_lora_is_held_to_another_rule(submit, good) -> None:
    good.pages["/a"] = page(LORA)
    call = await submit(loras=[{"url": f"https://good.test:{good.port}/a", "scale": 0.5}])
    (row,) = call.payload["loras"]
    assert (row["scale"], row["path"].key.endswith(".safetensors")) == (0.5, True)
    assert await call.media.read(row["path"]) == LORA


async def test_an_upload_of_the_account(submit, core) -> None:
    async def body():
        yield PNG

    row = await core.media.upload(body(), None, "image", OPERATOR)
    call = await submit(image_url=row.id)
    assert (call.payload["image_url"].key, call.payload["image_url"].url) == (row.storage_key, row.id)


async def test_an_upload_of_another_account_or_kind(core) -> None:
    async def body():
        yield PNG

    row = await core.media.upload(body(), None, "image", OPERATOR)
    assert await faults_of(core, "acc_other", image_url=row.id) == {
        "/inputs/image_url": "no upload of yours has this id"
    }
    assert "/inputs/lora_url" in await faults_of(core, lora_url=row.id)
    assert "/inputs/image_url" in await faults_of(core, image_url="upl_none")


async def test_every_fault_at_once_where_it_was_named(core, good) -> None:
    away = f"https://good.test:{good.port}/none"
    found = await faults_of(
        core,
        image_url=DATA,
        mask_url=SVG,
        reference_image_urls=[DATA, away],
        loras=[{"url": DATA}],
    )
    assert set(found) == {"/inputs/mask_url", "/inputs/reference_image_urls/1", "/inputs/loras/0/url"}
    assert found["/inputs/reference_image_urls/1"] == "its host answered 404"


async def test_a_reference_named_twice_is_two_faults(core) -> None:
    found = await faults_of(core, mask_url=SVG, options={"image_url": SVG})
    assert set(found) == {"/inputs/mask_url", "/options/image_url"}


async def test_a_bucket_that_nobody_listed(core) -> None:
    found = await faults_of(core, image_url="s3://inputs/a.png")
    assert "GATEWAY_INPUT_BUCKETS" in found["/inputs/image_url"]


async def test_the_default_fetcher_reaches_nothing_private(core) -> None:
    core.media.fetcher = Fetcher()
    async with WebServer() as server:
        await faults_of(core, image_url=f"https://127.0.0.1:{server.port}/")
        assert server.connections == 0


async def test_an_estimate_fetches_nothing(core, good) -> None:
    url = f"https://good.test:{good.port}/a.png"
    plan = core.plan(GenerateRequest(model="all", inputs={"prompt": "x", "image_url": url}))
    assert plan.candidates[0].calls[0].payload["image_url"] == MediaRef(url=url)
    assert good.connections == 0


async def test_what_is_gone_from_the_store(submit, tmp_path) -> None:
    call = await submit(image_url=DATA)
    ref = call.payload["image_url"]
    (tmp_path / "store" / ref.key).unlink()
    with pytest.raises(OutputFetchFailed):
        await call.media.read(ref)


async def test_nothing_is_left_of_what_came(core, submit, tmp_path) -> None:
    await submit(image_url=DATA)
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_our_own_fault_is_no_fault_of_the_request(core, tmp_path) -> None:
    (tmp_path / "store" / "media").write_text("a file where the folder should be")
    request = GenerateRequest(model="all", inputs={"prompt": "x", "image_url": DATA, "mask_url": SVG})
    with pytest.raises(Problem) as caught:
        await core.admission.submit(request, premium())
    assert caught.value.document.code == "storage_unavailable"


# -- what inputs cost -------------------------------------------------------------------------


async def run_counted(core: Core, reference: str, **options: object) -> JobRow:
    request = GenerateRequest(
        model="counts",
        inputs={"prompt": "x", "size": "64x48", "reference_image_urls": [reference, DATA]},
        options=options,
    )
    job_id = await core.admission.submit(request, premium(OPERATOR))
    await core.runner.wait(job_id, 20)
    return await core.job(job_id, OPERATOR)


async def test_what_is_held_and_charged_is_by_the_inputs_true_sizes(core, good) -> None:
    good.pages["/large.png"] = page(picture(1100, 1000))
    url = f"https://good.test:{good.port}/large.png"
    job = await run_counted(core, url)
    # 1 MP out; 1100 x 1000 are 2 MP, 64 x 48 are 1.
    assert (job.quote_micros, job.ceiling_micros, job.charge_micros) == (120_000, 120_000, 120_000)
    (found,) = await core.db.read(lambda c: c.execute(select(attempt.c.provider_cost_micros)).scalars().all())
    assert found == 80_000
    assert job.admitted.candidates[0].inputs == ((1100, 1000), (64, 48))


async def test_an_input_that_makes_it_too_dear_is_refused_before_anything_is_held(core, good) -> None:
    out = io.BytesIO()
    Image.new("RGB", (3400, 3000)).save(out, "PNG")
    good.pages["/large.png"] = page(out.getvalue())
    with pytest.raises(InvalidInputs) as caught:
        # 1 MP out and 4 of each input would be 0.27 USD; 10 MP and 1 are 0.36.
        await run_counted(core, f"https://good.test:{good.port}/large.png", max_cost="0.3")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/options/max_cost", "too_expensive")
    assert fault.message == "it may cost 0.36 USD, more than max_cost"
    assert await core.db.read(lambda c: queries.list_jobs(c, OPERATOR, limit=9)) == []
    assert (await core.db.read(lambda c: ledger.balance(c, OPERATOR))).held_micros == 0
