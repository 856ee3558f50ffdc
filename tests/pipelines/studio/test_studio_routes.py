"""The studio's routes in this process: the page's policy, sources, documents, segmenters, and who may see them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from fovea.pipelines import studio
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.app import create_app
from fovea.pipelines.server.secret import digest
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.studio.router import router
from fovea.pipelines.studio.texts import FOUND, blocks, find
from tests.studio_library import HOSTILE, HOSTILE_NAME, PAGES, SECRET, TEA, write

STATIC = Path(studio.__file__).parent / "static"
KEYS = {"all": "a" * 40, "tea": "b" * 40}


def client(served: Served, study: Path | None = None) -> TestClient:
    app = create_app(served)
    app.include_router(router(served, study))
    return TestClient(app, base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with Pipeline.from_yaml(write(tmp_path_factory.mktemp("store"), 300)) as made:
        yield made


@pytest.fixture(scope="module")
def api(pipeline):
    with client(Served({"many": pipeline})) as made:
        yield lambda path, **given: made.get(f"/studio/api/{path}", params=given)


@pytest.fixture(scope="module")
def page(pipeline):
    return client(Served({"many": pipeline}))


# The page


def test_the_page_and_its_files_allow_nothing_from_elsewhere(page):
    for name in ("", *(file.name for file in STATIC.iterdir())):
        reply = page.get(f"/studio/{name}")
        assert reply.status_code == 200
        policy = reply.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        again = page.get(f"/studio/{name}", headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert page.get("/studio/none.js").status_code == 404
    assert page.get("/studio/..%2frouter.py").status_code == 404


@pytest.mark.parametrize("file", sorted(STATIC.glob("*")), ids=lambda file: file.name)
def test_files_name_no_other_host_and_make_no_markup_of_text(file):
    text = file.read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert not re.search(r"<script>|\son\w+=\"|style=\"", text), "the policy would refuse it"


def test_modules_import_files_that_are_there():
    for file in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./(.+?)"', file.read_text("utf-8")):
            assert (STATIC / name).is_file(), f"{file.name} imports {name}"
    named = re.findall(r'(?:href|src)="([\w.]+\.\w+)"', (STATIC / "index.html").read_text("utf-8"))
    assert {name for name in named if not (STATIC / name).is_file()} == set()


# Sources


def test_sources_come_in_windows(api):
    whole = api("sources", limit=500).json()
    assert (whole["sources"], whole["documents"]) == (306, 304)
    assert whole["states"] == {"ok": 304, "failed": 2}
    names = [row["name"] for row in whole["rows"]]
    assert names == sorted(names)
    some = api("sources", offset=100, limit=50).json()
    assert [row["name"] for row in some["rows"]] == names[100:150]
    assert api("sources", offset=10_000).json()["rows"] == []


def test_sources_are_found_by_name_and_by_reason(api):
    failed = api("sources", state="failed").json()
    assert [row["name"] for row in failed["rows"]] == ["docs/broken.docx", "docs/broken.pdf"]
    assert "copy it again" in failed["rows"][0]["error"]
    assert api("sources", query="DAMAGED").json()["found"] == 2
    assert api("sources", query="note-00017").json()["rows"][0]["bytes"] > 0
    assert api("sources", order="size").json()["rows"][0]["name"] == "docs/whole.txt"


def test_a_request_that_cannot_be_is_refused_in_the_servers_shape(api):
    for reply, status in [
        (api("sources", pipeline="none"), 404),
        (api("sources", offset=-1), 422),
        (api("sources", order="colour"), 422),
        (api("document", id="none"), 404),
        (api("document/text", id="docs/tea.txt", start=0), 422),
        (api("document/text", id="docs/tea.txt", start=0, end=10**30), 422),
        (api("document/cuts", id="docs/tea.txt", segmenter="none"), 400),
        (api("document/cuts", id="docs/tea.txt", segmenter="chain:7"), 400),
        (api("document/cuts", id="docs/tea.txt", segmenter="chain:²"), 400),
        (api("document/find", id="docs/tea.txt", text=""), 422),
        (api("study"), 400),
        (api("report"), 400),
    ]:
        assert reply.status_code == status, reply.text
        assert set(reply.json()["error"]) >= {"message", "type"}


# Documents


def test_a_document_is_read_in_windows_of_its_blocks(api):
    outline = api("document", id=HOSTILE_NAME).json()
    assert outline["title"] == "<i>hostile</i>"
    text = api("document/text", id=HOSTILE_NAME, start=0, end=outline["length"]).json()["text"]
    assert text == HOSTILE * 3
    paged = api("document", id="docs/paged.pdf").json()
    assert paged["pages"] == [0, len(PAGES[0]), len(PAGES[0]) + len(PAGES[1])]
    assert paged["lines"] == 6
    ends = [len(PAGES[0]), len(PAGES[0]) + len(PAGES[1]), len("".join(PAGES))]
    assert api("document/chunks", id="docs/paged.pdf").json()["chunks"] == [list(p) for p in zip(paged["pages"], ends)]
    assert api("documents", source="docs/paged.pdf").json() == {"documents": ["docs/paged.pdf"]}
    assert api("documents", source="docs/broken.pdf").json() == {"documents": []}


def test_a_word_is_found_in_all_of_a_long_document(api):
    found = api("document/find", id="docs/whole.txt", text="XYLOPHONE 😀").json()
    assert found["count"] == 1
    [at] = found["places"]
    assert api("document/text", id="docs/whole.txt", start=at - 19, end=at + 12).json()["text"] == SECRET
    many = api("document/find", id="docs/whole.txt", text="harbour").json()
    assert many["count"] > FOUND == len(many["places"])


@given(st.text(st.sampled_from("ab \n😀"), max_size=300), st.integers(2, 40))
def test_blocks_are_all_of_a_text_and_none_is_large(text, size):
    starts = blocks(text, size)
    assert starts[0] == 0
    ends = [*starts[1:], len(text)]
    assert all(0 < b - a <= size for a, b in zip(starts, ends)) or not text


@given(st.text(min_size=1, max_size=4), st.text(max_size=40))
def test_found_places_hold_what_was_asked_for(wanted, around):
    text = f"{around}{wanted}{around}"
    count, places = find(text, wanted)
    assert count == len(places) >= 1
    assert all(
        text[at : at + len(wanted)].lower() == wanted.lower() or len(wanted.lower()) != len(wanted) for at in places
    )


def test_segmenters_say_cuts_and_chunks_of_the_text(api):
    known = api("segmenters").json()
    assert known["chain"] == ["sentence"]
    assert {"recursive", "sentence", "texttiling"} <= set(known["others"])
    for segmenter in ("chain:0", "recursive", "sentence"):
        said = api("document/cuts", id="docs/tea.txt", segmenter=segmenter).json()
        assert (said["start"], said["end"]) == (0, len(TEA))
        assert said["cuts"]
        assert all(0 < at < len(TEA) and 0 < score <= 1 for at, score in said["cuts"])
        assert all(TEA[a:b].strip() == TEA[a:b] for a, b in said["chunks"])
    part = api("document/cuts", id="docs/whole.txt", segmenter="fixed", start=4_900_000).json()
    assert part["start"] == 4_900_000
    assert part["chunks"][0][0] >= 4_900_000


def test_chunks_by_id(api, page, pipeline):
    hits = pipeline.retrieve("At how many degrees is green tea brewed?", 1)
    ids = [hits[0].chunk.id, "0" * 24]
    found = page.post("/studio/api/chunks", json={"ids": ids}).json()["chunks"]
    assert found == {ids[0]: {"document": "docs/tea.txt", "start": hits[0].chunk.start, "end": hits[0].chunk.end}}
    assert page.post("/studio/api/chunks", json={"ids": ["../etc"]}).status_code == 400


def test_only_a_local_model_can_be_looked_into(page):
    body = {"question": "How?", "text": "So.", "sentences": [[0, 3]], "hits": []}
    reply = page.post("/studio/api/heat", json=body)
    assert reply.status_code == 400
    assert "extractive is no local model" in reply.json()["error"]["message"]


# Who may see what


@pytest.fixture(scope="module")
def locked(pipeline):
    keys = [{"name": name, "sha256": digest(key)} for name, key in KEYS.items()]
    keys[1]["scope"] = "source == 'docs/tea.txt'"
    return client(Served({"many": pipeline}, ServeSettings.model_validate({"keys": keys})), Path("none.sweep"))


def test_without_a_key_there_is_the_page_and_no_data(locked):
    assert locked.get("/studio/").status_code == 200
    assert locked.get("/studio/main.js").status_code == 200
    for path in ("overview", "alive", "sources", "document?id=docs/tea.txt", "study", "report", "segmenters"):
        assert locked.get(f"/studio/api/{path}").status_code == 401


def test_a_scope_hides_documents_in_every_route(locked, pipeline):
    def get(path, key="tea", **given):
        return locked.get(f"/studio/api/{path}", params=given, headers={"Authorization": f"Bearer {KEYS[key]}"})

    assert get("sources", "all").json()["sources"] == 306
    seen = get("sources").json()
    assert [row["name"] for row in seen["rows"]] == ["docs/tea.txt"]
    assert (seen["sources"], seen["documents"]) == (1, 1)
    assert get("document", id="docs/tea.txt").status_code == 200
    for path, more in [
        ("document", {}), ("document/text", {"start": 0, "end": 9}), ("document/chunks", {}),
        ("document/find", {"text": "a"}), ("document/cuts", {"segmenter": "fixed"}),
    ]:  # fmt: skip
        assert get(path, "all", id="docs/paged.pdf", **more).status_code == 200
        hidden, absent = get(path, id="docs/paged.pdf", **more), get(path, id="docs/absent.x", **more)
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text.replace("paged.pdf", "absent.x") == absent.text, "that it is there is not said"
    assert get("documents", source="docs/paged.pdf").json() == {"documents": []}
    assert get("study").status_code == get("report").status_code == 403
    id_ = pipeline.retrieve("rivers third", 1, where="source == 'docs/paged.pdf'")[0].chunk.id
    for key, count in (("all", 1), ("tea", 0)):
        reply = locked.post("/studio/api/chunks", json={"ids": [id_]}, headers={"Authorization": f"Bearer {KEYS[key]}"})
        assert len(reply.json()["chunks"]) == count


# Studies


def test_a_study_and_its_report(pipeline, tmp_path):
    from tests.sweep_studies import Here, write_study

    pytest.importorskip("optuna")
    from fovea.pipelines.sweep.load import load_study
    from fovea.pipelines.sweep.report.html import write_html
    from fovea.pipelines.sweep.run import Sweep

    folder = tmp_path / "small.sweep"
    page = client(Served({"many": pipeline}), folder)
    assert page.get("/studio/api/overview").json()["study"] is True
    assert "no study in this folder" in page.get("/studio/api/study").json()["error"]["message"]
    with Sweep(load_study(write_study(tmp_path, search={"use": "grid", "trials": 2})), folder) as sweep:
        sweep.run(Here(sweep.data.task))
        told = page.get("/studio/api/study").json()
        assert (told["report"], page.get("/studio/api/report").status_code) == (False, 400)
        write_html(sweep.record(), folder / "report.html")
    told = page.get("/studio/api/study").json()
    assert (told["study"], told["trials"], told["questions"], told["report"]) == ("small", 2, 6, True)
    assert [(row["state"], row["done"]) for row in told["rows"]] == [("complete", 6)] * 2
    report = page.get("/studio/api/report")
    assert report.headers["content-security-policy"].startswith(
        "sandbox allow-scripts allow-popups; default-src 'none'"
    )
    assert "small" in report.text
    assert json.loads(json.dumps(told, allow_nan=False)) == told
