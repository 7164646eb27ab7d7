"""What is known of a cluster before Ray starts."""

import pytest

from lisa.errors import InputError
from tune.cluster import require_short_paths


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_rays_sockets_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch):
    for other in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    require_short_paths("")
    monkeypatch.setattr("os.getpid", lambda: 12345)
    monkeypatch.setenv(name, "/" + 41 * "x")
    with pytest.raises(
        InputError, match=rf"^{name}=/x+ is 1 bytes too long for Ray's sockets: set RAY_TMPDIR"
    ):
        require_short_paths("")
    require_short_paths("10.0.0.1:6379")  # a cluster's sockets are not ours
    monkeypatch.setenv(name, "/" + 40 * "x")
    require_short_paths("")


def test_rays_own_folder_counts_where_both_are_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", "/" + 100 * "x")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    require_short_paths("")
