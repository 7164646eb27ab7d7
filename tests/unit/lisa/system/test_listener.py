import socket

import pytest

from lisa.system.listener import why_silent


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_a_listener_is_heard_and_a_closed_port_is_not(kind: str):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert why_silent(f"{kind}127.0.0.1:{port}") == ""
        beyond = why_silent(f"{kind}127.0.0.1:{port + 65536}")
        assert beyond == f"port {port + 65536}: at most 65535", "it is another port's listener"
    assert why_silent(f"{kind}127.0.0.1:{port}") == "Connection refused"


@pytest.mark.parametrize("host", ["a..b", 64 * "x"])
def test_what_can_be_no_host_is_one_line(host: str):
    assert why_silent(f"{host}:6379") == f"{host!r} can't be a host's name"


@pytest.mark.parametrize("address", ["auto", "local", "", "http://127.0.0.1:1", "127.0.0.1:²"])
def test_addresses_of_another_kind_are_left_to_ray(address: str):
    assert why_silent(address) == ""
