"""An address to listen on: taken before anything is loaded, and said in full where it cannot be."""

from __future__ import annotations

import errno
import socket

import pytest

from fovea.pipelines.bound import bound, url
from fovea.pipelines.cli.main import main
from fovea.rag.errors import ConfigError


def test_a_free_port_is_bound_and_nobody_is_let_in_before_it_listens():
    [one] = bound("127.0.0.1", 0)
    with one:
        address = one.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
        one.listen()
        socket.create_connection(address, timeout=1).close()


def test_all_addresses_of_a_name_have_one_port():
    taken = bound("localhost", 0)
    assert len({one.getsockname()[1] for one in taken}) == 1
    for one in taken:
        one.close()


def test_an_address_that_this_machine_lacks_is_passed_over_beside_one_that_it_has(monkeypatch):
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    gone = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [gone, here])
    [one] = bound("localhost", 0)
    one.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [gone])
    with pytest.raises(ConfigError, match="cannot listen on localhost:0") as error:
        bound("localhost", 0)
    assert error.value.where == "--host"


def test_a_name_that_is_none(monkeypatch):
    with pytest.raises(ConfigError) as error:
        bound("no.such.host.invalid", 80)
    assert (error.value.where, "--host" in error.value.fix) == ("--host", True)
    with pytest.raises(ConfigError, match="no name of a host"):
        bound("a" * 100 + ".b", 80)


def test_a_port_of_the_system(monkeypatch):
    def refused(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(ConfigError, match="below 1024") as error:
        bound("127.0.0.1", 80)
    assert error.value.fix.endswith("--port 8080")


@pytest.mark.parametrize("verb", [["serve"], ["studio"], ["mcp", "--http"]])
def test_a_port_that_is_taken_is_all_that_is_said(verb, tmp_path, monkeypatch, capfd):
    for needed in ("fastapi", "mcp"):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qa.yaml").write_text("encoder: hash\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([*verb, "qa.yaml", "--port", str(port)]) == 2
    out, err = capfd.readouterr()
    assert out == "", "no address where nothing listens"
    assert err.startswith(f"--port: cannot listen on 127.0.0.1:{port}: something listens there already\n  fix: ")
    assert len(err.splitlines()) == 2


def test_addresses_as_a_browser_takes_them():
    assert url("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert url("::1", 80) == "http://[::1]:80"
