from pathlib import Path

import pytest

from lisa.errors import InputError
from lisa.system.claimed_folder import claim_folder


def test_a_folder_whose_marker_is_damaged_is_left_alone(tmp_path: Path):
    claim_folder(tmp_path, "marker.json", {"size": 1})
    (tmp_path / "marker.json").write_text("[]")
    with pytest.raises(InputError, match=r"marker.json: it holds no object; delete"):
        claim_folder(tmp_path, "marker.json", {"size": 1})
