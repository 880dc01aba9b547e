"""Objects of a real Cloud Storage server: found, fetched once, checked, written whole; nothing is
lost to 5xx and cut connections.
"""

import gzip
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.auth.credentials import AnonymousCredentials

from tests.cloud import bucket_of_cloud_storage
from trainer.errors import ConfigError
from trainer.files import gcs
from trainer.files.gcs import connection, downloads, uploads

KEY = "data.train"


@pytest.fixture(scope="module")
def cloud():
    with bucket_of_cloud_storage("bucket") as faults:
        yield faults


@pytest.fixture
def faults(cloud, monkeypatch):
    """Large is from 1 MB on, in ranges of 256 kB, so that the tests are quick."""
    monkeypatch.setattr(downloads, "LARGE_BYTES", 1 << 20)
    monkeypatch.setattr(downloads, "RANGE_BYTES", 1 << 18)
    monkeypatch.setattr(uploads, "PART_BYTES", 1 << 18)
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 4.0)
    cloud.plan = lambda method, path: None
    cloud.requests = []
    return cloud


def put(name, content):
    gcs.client().bucket("bucket").blob(name).upload_from_string(content)
    return f"gs://bucket/{name}"


def names(url):
    return [item.name for item in gcs.find(url, key=KEY)]


def test_objects_are_found_by_name_folder_and_glob(faults):
    for name in (
        "find/a.jsonl",
        "find/b.jsonl",
        "find/deep/c.jsonl",
        "find/x[1].txt",
        "find/deep/",
    ):
        put(name, name.encode())
    assert names("gs://bucket/find/a.jsonl") == ["find/a.jsonl"] and names(
        "gs://bucket/find/*.jsonl"
    ) == ["find/a.jsonl", "find/b.jsonl"]
    assert names("gs://bucket/find/**.jsonl") == [
        "find/a.jsonl",
        "find/b.jsonl",
        "find/deep/c.jsonl",
    ]
    assert (
        names("gs://bucket/find/deep") == names("gs://bucket/find/deep/") == ["find/deep/c.jsonl"]
    )
    for name in ("[v1] data/a-1.jsonl", "[v1] data/a-2.jsonl"):  # in no folder of other tests
        put(name, b"x")
    # a bracket of a name
    assert names("gs://bucket/[v1] data/a-*.jsonl") == [
        "[v1] data/a-1.jsonl",
        "[v1] data/a-2.jsonl",
    ]
    gcs.delete(gcs.listing("gs://bucket/[v1] data", key=KEY), key=KEY)
    item = gcs.find("gs://bucket/find/a.jsonl", key=KEY)[0]
    assert (item.bucket, item.size, str(item)) == (
        "bucket",
        12,
        "gs://bucket/find/a.jsonl",
    ) and item.generation > 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "gs://bucket/find/c.jsonl",
            (
                "data.train: there is no object 'gs://bucket/find/c.jsonl'. gs://bucket/find/"
                " holds: a.jsonl, b.jsonl, deep/, x[1].txt."
            ),
        ),
        (
            "gs://bucket/fond/*.tsv",
            "data.train: there is no object 'gs://bucket/fond/*.tsv'. gs://bucket/ holds: find/",
        ),
        (
            "gs://nowhere/a",
            (
                "data.train: there is no bucket gs://nowhere, or an anonymous user may not see it."
                " Buckets are listed by: gcloud storage ls"
            ),
        ),
        (
            "gs:/a",
            (
                "data.train: expected gs://BUCKET/NAME, the bucket without wildcards. Received"
                " 'gs:/a'."
            ),
        ),
        (
            "gs://my-*/a",
            (
                "data.train: expected gs://BUCKET/NAME, the bucket without wildcards. Received"
                " 'gs://my-*/a'."
            ),
        ),
        (
            "gs://bucket/find/[z-a].jsonl",
            "data.train: there is no object 'gs://bucket/find/[z-a].jsonl'.",
        ),
    ],
)
def test_what_is_not_there_is_said_with_what_is(faults, url, message):
    for name in ("find/a.jsonl", "find/b.jsonl", "find/deep/c.jsonl", "find/x[1].txt"):
        put(name, name.encode())
    with pytest.raises(ConfigError) as caught:
        gcs.find(url, key=KEY)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("size", [0, 5, 1 << 20, (3 << 20) + 7])
def test_an_object_is_fetched_once_in_each_generation(faults, tmp_path, size):
    content = os.urandom(size)
    url = put("fetch/data.bin", content)
    found = gcs.find(url, key=KEY)
    path = gcs.fetch(found, tmp_path, key=KEY)[0]
    assert path.read_bytes() == content and path.parts[-3:] == ("bucket", "fetch", "data.bin")
    faults.requests.clear()
    assert gcs.fetch(found, tmp_path, key=KEY) == [path] and not faults.requests
    put("fetch/data.bin", b"new")
    assert (
        gcs.fetch(gcs.find(url, key=KEY), tmp_path, key=KEY)[0].read_bytes() == b"new"
        and path.read_bytes() == content
    )


# in one request, and as a resumable upload of 36 parts
@pytest.mark.heavy
@pytest.mark.parametrize("size", [1000, 9 << 20])
@pytest.mark.parametrize("fault", [429, 503, "cut"])
def test_failures_that_pass_lose_nothing(faults, tmp_path, size, fault):
    content = os.urandom(size)
    (tmp_path / "up.bin").write_bytes(content)
    for method in ("POST", "PUT") if size > 1000 else ("POST",):
        faults.fired = 0
        faults.once(fault, method=method)
        gcs.upload(tmp_path / "up.bin", "gs://bucket/faults/up.bin", key=KEY)
        assert faults.fired == 1
    found = gcs.find("gs://bucket/faults/up.bin", key=KEY)
    assert found[0].crc32c == gcs.crc32c(tmp_path / "up.bin") and found[0].size == size
    faults.fired = 0
    faults.once(fault, part="alt=media", times=2)
    assert (
        gcs.fetch(found, tmp_path / "cache", key=KEY)[0].read_bytes() == content
        and faults.fired == 2
    )


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_a_wrong_checksum_is_refused_and_nothing_is_kept(faults, tmp_path, size):
    found = gcs.find(put("checksum.bin", os.urandom(size)), key=KEY)
    faults.once(lambda content: bytes([content[0] ^ 1]) + content[1:], part="alt=media", times=1000)
    with pytest.raises(
        ConfigError,
        match=(
            r"data.train: gs://bucket/checksum.bin arrived with crc32c .*, twice, and Cloud Storage"
            r" has .*: it is damaged"
        ),
    ):
        gcs.fetch(found, tmp_path, key=KEY)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    faults.once(lambda content: bytes([content[0] ^ 1]) + content[1:], part="alt=media")
    assert gcs.crc32c(gcs.fetch(found, tmp_path, key=KEY)[0]) == found[0].crc32c  # once is repeated


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            403,
            (
                "data.train: an anonymous user may not read or write gs://bucket/a:"
                " storage.objects.list is missing (403 "
            ),
        ),
        (401, "data.train: gs://bucket/a: the credentials of an anonymous user are refused ("),
        (503, "data.train: gs://bucket/a: Cloud Storage does not answer ("),
    ],
)
def test_refusals_name_who_what_and_the_remedy(faults, status, message):
    faults.plan = lambda method, path: status
    with pytest.raises(ConfigError) as caught:
        gcs.find("gs://bucket/a", key=KEY)
    assert str(caught.value).startswith(message)
    remedy = {
        403: (
            "add-iam-policy-binding gs://bucket --member=user:YOU --role=roles/storage.objectViewer"
        ),
        401: "gcloud auth application-default login",
        503: "start again: what was fetched is kept.",
    }
    assert str(caught.value).endswith(remedy[status])


def test_several_at_once_fetch_an_object_once(faults, tmp_path):
    found = gcs.find(put("together.bin", b"x" * 5000), key=KEY)
    faults.requests.clear()
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: gcs.fetch(found, tmp_path, key=KEY)[0], range(8)))
    assert (
        len(paths) == 1 and len([path for _, path in faults.requests if "alt=media" in path]) == 1
    )


def test_objects_are_removed_in_the_generation_that_was_listed(faults):
    for name in ("a", "b", "c"):
        put(f"removed/{name}", b"x")
    found = gcs.listing("gs://bucket/removed/", key=KEY)
    gcs.delete(found[1:], key=KEY)
    assert (
        names("gs://bucket/removed") == ["removed/a"]
        and gcs.listing("gs://bucket/removed/a", key=KEY) == found[:1]
    )
    assert gcs.listing("gs://bucket/remove", key=KEY) == []  # which is no folder, though a prefix
    # What was written anew since is left alone; this server does not heed the condition, so that
    # only its being asked can be seen.
    asked = [path for method, path in faults.requests if method == "DELETE"]
    assert len(asked) == 2 and all(
        any(f"ifGenerationMatch={item.generation}" in path for path in asked) for item in found[1:]
    )
    gcs.delete(found[1:], key=KEY)  # gone already


def test_a_glob_reads_no_more_of_the_list_than_it_needs(faults):
    for name in ("flat/a.txt", "flat/b.txt", "flat/deep/c.txt", "flatter/d.txt"):
        put(name, name.encode())
    faults.requests.clear()
    assert names("gs://bucket/flat/[!b].txt") == ["flat/a.txt"] and all(
        "delimiter=%2F" in path for _, path in faults.requests if "prefix=" in path
    )
    assert names("gs://bucket/fl*/*.txt") == ["flat/a.txt", "flat/b.txt", "flatter/d.txt"]
    assert [item.name for item in gcs.listing("gs://bucket/flat", key=KEY)] == [
        "flat/a.txt",
        "flat/b.txt",
        "flat/deep/c.txt",
    ]


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_what_is_stored_as_gzip_is_read_unzipped(faults, tmp_path, size):
    content = os.urandom(size)
    blob = gcs.client().bucket("bucket").blob("encoded.jsonl")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(content))
    found = gcs.find("gs://bucket/encoded.jsonl", key=KEY)
    assert (
        found[0].encoding == "gzip"
        and gcs.fetch(found, tmp_path, key=KEY)[0].read_bytes() == content
    )


def test_an_object_and_a_folder_of_one_name_are_refused(faults, tmp_path):
    for name in ("twice/a", "twice/a/b"):
        put(name, b"x")
    with pytest.raises(
        ConfigError,
        match=(
            r"data.train: gs://bucket/twice/a is an object, and gs://bucket/twice/a/b lies in a"
            r" folder of that name"
        ),
    ):
        gcs.fetch(gcs.find("gs://bucket/twice/**", key=KEY), tmp_path, key=KEY)


def test_what_the_server_refuses_for_another_reason_is_said(faults):
    faults.plan = lambda method, path: 400
    with pytest.raises(ConfigError, match=r"data.train: gs://bucket/a: Cloud Storage refuses it: "):
        gcs.find("gs://bucket/a", key=KEY)


def test_the_token_is_for_vertex_ai_too(monkeypatch):
    asked = []
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(
        "google.auth.default",
        lambda scopes: asked.extend(scopes) or (AnonymousCredentials(), "project"),
    )
    gcs.client.__wrapped__()
    assert asked == ["https://www.googleapis.com/auth/cloud-platform"]


def test_names_that_leave_the_folder_are_refused(faults, tmp_path):
    put("unsafe/../../../evil", b"x")
    with pytest.raises(
        ConfigError,
        match=(
            r"data.train: gs://bucket/unsafe/../../../evil has a name that no file of this machine"
            r" can have. Rename it: gcloud"
        ),
    ):
        gcs.fetch(gcs.find("gs://bucket/unsafe/**", key=KEY), tmp_path / "cache", key=KEY)
    assert not list(tmp_path.rglob("*evil*"))


def test_what_is_marked_as_gzip_and_is_none_is_named(faults, tmp_path):
    blob = gcs.client().bucket("bucket").blob("damaged.jsonl")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(b"text" * 1000)[:40])
    with pytest.raises(
        ConfigError,
        match=(
            r"gs://bucket/damaged\.jsonl.* is marked as gzip \(Content-Encoding\) and cannot be"
            r" unzipped: .*Upload it"
        ),
    ):
        gcs.fetch(gcs.find("gs://bucket/damaged.jsonl", key=KEY), tmp_path, key=KEY)
