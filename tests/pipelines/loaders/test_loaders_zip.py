"""Archives: members are documents of their own, limits hold at any depth, nothing is written elsewhere."""

import io
import zipfile

import pytest

from fovea.pipelines.loaders.csv import CsvLoader
from fovea.pipelines.loaders.zip import ZipLoader
from fovea.rag.errors import DocumentError
from tests.loader_samples import load, one
from tests.office_samples import eml, packed, xlsx


def ids(documents, path):
    return [document.id.removeprefix(path.as_posix()) for document in documents]


def test_members_are_documents_named_by_their_place(tmp_path):
    path = tmp_path / "a.zip"
    data = packed({"notes/tea.md": "# Tea\n", "b.txt": "plain", "rows.csv": "a\n1\n2\n", "prices.xlsx": xlsx()})
    documents, warnings = load(ZipLoader(), path, data)
    assert ids(documents, path) == ["#notes/tea.md", "#b.txt", "#rows.csv#2", "#rows.csv#3", "#prices.xlsx"]
    assert {document.source for document in documents} == {path.as_posix()}
    assert [document.title for document in documents] == ["Tea", "b.txt", "rows.csv", "rows.csv", "Prices"]
    assert warnings == {}


def test_archives_and_messages_within_are_opened(tmp_path):
    path = tmp_path / "a.zip"
    inner = packed({"letter.eml": eml(), "x.txt": "inner"})
    documents, warnings = load(ZipLoader(), path, packed({"in.zip": inner, "y.txt": "outer"}))
    assert ids(documents, path) == [
        "#in.zip#letter.eml", "#in.zip#letter.eml#terms.md", "#in.zip#x.txt", "#y.txt",
    ]  # fmt: skip
    assert warnings == {}


def test_deeper_ones_than_allowed_are_counted(tmp_path):
    data = packed({"x.txt": "one"})
    for _ in range(4):
        data = packed({"in.zip": data, "x.txt": "more"})
    documents, warnings = load(ZipLoader(), tmp_path / "a.zip", data)
    assert len(documents) == 3
    assert sum(warnings.values()) == 1
    documents, warnings = load(ZipLoader(depth=5), tmp_path / "a.zip", data)
    assert len(documents) == 5
    assert not warnings


def test_an_archive_of_itself_ends(tmp_path):
    inner = packed({"x.txt": "x"})
    data = packed({f"{n}.zip": packed({f"{m}.zip": inner for m in range(3)}) for n in range(3)})
    documents, _ = load(ZipLoader(), tmp_path / "a.zip", data)
    assert len(documents) == 9


def test_the_limit_counts_what_all_depths_unpack_to(tmp_path):
    bomb = packed({f"{n}.txt": b"x" * 1_000_000 for n in range(10)})
    path = tmp_path / "a.zip"
    path.write_bytes(packed({f"{n}.zip": bomb for n in range(10)}))
    assert path.stat().st_size < 200_000
    loader = ZipLoader(max_unpacked=20_000_000)
    with pytest.raises(DocumentError, match="unpacked it takes more than the limit of 20,000,000 bytes") as caught:
        list(loader.load(path))
    assert "max_unpacked" in caught.value.fix
    assert len(list(ZipLoader().load(path))) == 100


def test_one_bad_member_does_not_take_the_others_with_it(tmp_path):
    files = {"bad.pdf": "no pdf", "empty.txt": "", "good.md": "# Good\n", "photo.png": "x", "odd": "x"}
    (document,), warnings = load(ZipLoader(), tmp_path / "a.zip", packed(files))
    assert document.text == "# Good\n"
    assert sum(warnings.values()) == 4
    assert "a.zip#empty.txt: not read: the file is empty" in warnings
    assert "a.zip: members of unknown type (.png), left out" in warnings
    assert "a.zip: members of unknown type (no suffix), left out" in warnings


def test_if_none_can_be_read_the_first_reason_is_said(tmp_path):
    (tmp_path / "a.zip").write_bytes(packed({"bad.pdf": "no pdf"}))
    with pytest.raises(DocumentError, match=r"none of its files could be read, the first: bad\.pdf: cannot be read"):
        list(ZipLoader().load(tmp_path / "a.zip"))


@pytest.mark.parametrize(
    "name", ["../../evil.md", "/etc/evil.md", "..\\..\\evil.md", "C:\\evil.md", "a/./b/../evil.md"]
)
def test_names_lead_nowhere(tmp_path, name):
    (folder := tmp_path / "in").mkdir()
    document = one(ZipLoader(), folder / "a.zip", packed({name: "# Evil\n"}))
    assert ".." not in document.id
    assert document.id.endswith("evil.md")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "in"]


def test_long_and_repeated_names_have_documents_of_their_own(tmp_path):
    out = io.BytesIO(packed({"x" * 300 + ".txt": "words", "a.txt": "words"}))
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.txt", "words")
    documents, warnings = load(ZipLoader(), tmp_path / "a.zip", out.getvalue())
    assert len({document.id for document in documents}) == 3
    assert documents[2].id.endswith("#a (2).txt")
    assert not warnings


def test_what_systems_add_is_passed_by(tmp_path):
    files = {"__MACOSX/._a.txt": "x", ".git/config.txt": "x", "~$a.docx": "x", "a.txt": "words"}
    assert one(ZipLoader(), tmp_path / "a.zip", packed(files)).text == "words"


def encrypted(data: bytes) -> bytes:
    """The archive with the flag of encryption set on its first member, in both places."""
    data = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def test_encrypted_archives_are_refused_and_members_counted(tmp_path):
    (tmp_path / "a.zip").write_bytes(encrypted(packed({"a.txt": "x"})))
    with pytest.raises(DocumentError, match="encrypted: this ZIP archive opens only with a password") as caught:
        list(ZipLoader().load(tmp_path / "a.zip"))
    assert caught.value.fix
    (document,), warnings = load(ZipLoader(), tmp_path / "b.zip", encrypted(packed({"a.txt": "x", "b.txt": "y"})))
    assert document.text == "y"
    assert warnings == {"b.zip: encrypted members, left out": 1}


def test_members_are_read_with_the_settings_given(tmp_path):
    data = packed({"a.csv": "body;n\ntea;1\n"})
    loader = ZipLoader(inside=(CsvLoader(text=("body",), delimiter=";"),))
    assert one(loader, tmp_path / "a.zip", data).text == "tea"
    assert loader.fingerprint != ZipLoader().fingerprint
    assert ZipLoader(max_unpacked=5).fingerprint == ZipLoader().fingerprint


def test_settings_of_members_can_be_written_in_yaml():
    loader = ZipLoader.model_validate({"inside": [{"use": "csv", "text": ["body"]}]})
    assert loader.inside == (CsvLoader(text=("body",)),)


def test_a_new_version_of_a_members_loader_is_a_new_recipe(monkeypatch):
    before = ZipLoader().fingerprint
    monkeypatch.setattr(CsvLoader, "version", 99)
    assert ZipLoader().fingerprint != before
