"""Names of outputs: one for each input, whatever the inputs are called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.predictor.inputs import name_outputs

stems = st.lists(st.sampled_from(["a", "b", ".jpg", ".png"]), min_size=1, max_size=4).map("".join)
paths = st.builds(
    "{}{}{}".format, st.sampled_from(["", "a/", "a.jpg/"]), stems, st.sampled_from([".jpg", ".png"])
)
pictures = st.sets(paths, max_size=16).map(sorted)


def outputs(*sources: str) -> list[str]:
    return [job.name for job in name_outputs([Path("in", source) for source in sources], Path("in"))]


@given(pictures)
def test_outputs_are_unique_and_keep_their_folders(sources: list[str]):
    found = outputs(*sources)
    assert len(set(found)) == len(sources)
    for source, name in zip(sources, found, strict=True):
        assert name in (source, str(Path(source).with_suffix("")))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a.jpg", "b/a.jpg"], ["a", "b/a"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b"]),
        (["A.jpg", "a.png"], ["A.jpg", "a.png"]),  # a disk may take both for one
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg", "a.jpg.png", "a.png"]),
    ],
)
def test_the_stem_where_it_is_unique(sources: list[str], expected: list[str]):
    assert outputs(*sources) == expected
