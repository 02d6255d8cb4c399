import pytest

from providers.fal.addresses import read_addresses

FAL = read_addresses({})
LOCAL = read_addresses(
    {
        "FAL_QUEUE_URL": "http://127.0.0.1:81/q/",
        "FAL_REST_URL": "http://localhost:82",
        "FAL_CDN_URL": "http://[::1]:83/",
    }
)


def test_without_settings_they_are_fals():
    assert (FAL.queue, FAL.rest, FAL.cdn, FAL.jwks) == (
        "https://queue.fal.run",
        "https://rest.fal.ai",
        "https://v3.fal.media",
        "https://rest.fal.ai/.well-known/jwks.json",
    )
    assert (FAL.platform, FAL.openapi) == ("https://api.fal.ai/v1", "https://fal.ai/api/openapi")


def test_a_slash_at_the_end_does_not_matter():
    assert (LOCAL.queue, LOCAL.cdn) == ("http://127.0.0.1:81/q", "http://[::1]:83")


def test_the_rows_address_is_the_queues_unless_the_environment_says_other():
    assert read_addresses({}, "https://q.example").queue == "https://q.example"
    assert (
        read_addresses({"FAL_QUEUE_URL": "https://r.example"}, "https://q.example").queue
        == "https://r.example"
    )


@pytest.mark.parametrize(
    "name",
    [
        "FAL_QUEUE_URL",
        "FAL_REST_URL",
        "FAL_CDN_URL",
        "FAL_PLATFORM_URL",
        "FAL_OPENAPI_URL",
        "FAL_JWKS_URL",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        "queue.fal.run",
        "ftp://queue.fal.run",
        "http://queue.fal.run",
        "http://127.0.0.1.evil.example",
        "https://",
        "https://a@queue.fal.run",
        "https://queue.fal.run:x",
        "https://queue.fal.run/?a=b",
        "https://queue.fal.run/#a",
        "https://queue .fal.run",
    ],
)
def test_what_is_no_address_names_its_variable(name, value):
    with pytest.raises(ValueError, match=rf"^{name} "):
        read_addresses({name: value})


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/a/b/requests/1",
        "https://queue.falrun.com/a",
        "https://fal.run/a",
        "https://queue.fal.run:443/a",
    ],
)
def test_a_job_of_fals(url):
    assert FAL.has_job(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://queue.fal.run/a",
        "https://queue.fal.run:444/a",
        "https://fal.run.evil.example/a",
        "https://evilfal.run/a",
        "https://queue.fal.run@evil.example/a",
        "https://evil.example/queue.fal.run",
        "https://evil.example\\@queue.fal.run/a",
        "https://queue.fal.run\n.evil.example/a",
        "https://queue.fal.rün/a",
        "//queue.fal.run/a",
        "https://[queue.fal.run/a",
        "https://queue.fal.run/" + "a" * 5000,
        "",
    ],
)
def test_a_job_of_nobodys(url):
    assert not FAL.has_job(url)


def test_a_job_of_the_configured_queue():
    assert LOCAL.has_job("http://127.0.0.1:81/x")
    assert not LOCAL.has_job("http://127.0.0.1:82/x")
    assert LOCAL.has_job("https://queue.fal.run/x")


def test_where_uploads_go():
    assert FAL.has_upload("https://v3b.fal.media/files/a")
    assert not FAL.has_upload("https://fal.media.evil.example/a")
    assert LOCAL.has_upload("http://[::1]:83/files/a")


def test_where_pictures_come_from():
    assert FAL.has_file("https://storage.example/a.png")
    assert not FAL.has_file("http://storage.example/a.png")
    assert not FAL.has_file("file:///etc/passwd")
    assert LOCAL.has_file("http://[::1]:83/files/a")
    assert not LOCAL.has_file("http://127.0.0.1:5432/")
