"""What docs/server.md shows is so."""

import json
import re

import pytest

from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from tests.conftest import ROOT
from tests.serving import client, stored

PAGE = (ROOT / "docs" / "server.md").read_text("utf-8")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    with stored(tmp_path_factory.mktemp("served")) as pipeline, client(pipeline) as made:
        yield made


def test_the_settings_shown_are_right():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert check(yaml_source.parse(block)).serve


LIMITS = {
    "max_body": "1MB", "max_upload": "50MB", "timeout": "120", "concurrent": "2", "waiting": "64", "drain": "10",
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_are_those_of_the_settings(name):
    shown = LIMITS[name]
    assert getattr(ServeSettings.model_validate({name: shown}), name) == getattr(ServeSettings(), name)
    assert shown in next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line)


def test_what_is_asked_with_curl_is_answered(asked):
    found = re.findall(r"curl .*localhost:8000(\S+) .*-d '(.*)'", PAGE)
    assert len(found) == 2
    for path, body in found:
        reply = asked.post(path, json=json.loads(body))
        assert reply.status_code == 200, reply.text


def test_every_route_is_in_the_table(asked):
    for path in asked.app.openapi()["paths"]:
        bare = path.replace("{document_id}", "ID").replace("{name}", "").rstrip("/")
        assert bare in PAGE or bare in ("/healthz", "/pipelines"), path
