"""What is known of a cluster before Ray starts."""

import pytest

from lisa.errors import InputError
from tune.cluster import check_address


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_rays_sockets_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch):
    for other in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    check_address("")
    monkeypatch.setattr("os.getpid", lambda: 12345)
    monkeypatch.setenv(name, "/" + 41 * "x")
    with pytest.raises(
        InputError, match=rf"^{name}=/x+ is 1 bytes too long for Ray's sockets: set RAY_TMPDIR"
    ):
        check_address("")
    check_address("auto")  # a cluster's sockets are not ours
    monkeypatch.setenv(name, "/" + 40 * "x")
    check_address("")


def test_rays_own_folder_counts_where_both_are_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", "/" + 100 * "x")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_address("")
