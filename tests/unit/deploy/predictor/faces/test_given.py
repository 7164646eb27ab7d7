"""Files that list faces, without any picture."""

import json
from pathlib import Path

import pytest

from deploy.predictor.faces.given import read_given


@pytest.mark.parametrize("name", ["two\nlines.jpg", "a\u2028b.jpg", "a\x85b.jpg"])
def test_names_are_whole_where_python_sees_an_end_of_line_in_them(name: str) -> None:
    box = [1.0, 2.0, 30.0, 40.0]
    row = json.dumps({"picture": name, "box": box}, ensure_ascii=False)
    assert read_given(f"{row}\r\n{row}".encode(), Path("faces.jsonl")) == {name: [(*box,)] * 2}
    assert read_given(f'"{name}",1,2,30,40\r\n'.encode(), Path("faces.csv")) == {name: [(*box,)]}
