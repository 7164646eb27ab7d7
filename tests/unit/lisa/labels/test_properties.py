"""What holds for any label set and any encoding."""

from typing import Any

import numpy as np
import torch
from encoding_helpers import inverse_table
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa.augment.augmentation import Augmentation
from lisa.config import AugmentConfig, Config, ModelConfig
from lisa.config.parameter_count import count_lisa
from lisa.labels import Label, LabelSet
from lisa.labels.encoding import read_encoding
from lisa.labels.roles import ROLES
from lisa.models import build, count_parameters

UNSIDED = [role for role in ROLES[1:] if not role.startswith(("left_", "right_"))]
NARROW = ModelConfig(widths=(4, 4, 6, 6, 8), depths=(1, 1, 1, 1, 1))


@st.composite
def label_sets(draw: st.DrawFn) -> LabelSet:
    """2 to 64 labels; some cover roles, some are left and right of one another."""
    count = draw(st.integers(2, 64))
    color = st.tuples(*[st.integers(0, 255)] * 3)
    colors = draw(st.lists(color, min_size=count, max_size=count, unique=True))
    owners = draw(st.dictionaries(st.sampled_from(UNSIDED), st.integers(0, count - 1)))
    roles = [tuple(role for role, at in owners.items() if at == index) for index in range(count)]
    names = [f"label{index}" for index in range(count)]
    shuffled = draw(st.permutations(names))
    pairs = draw(st.integers(0, count // 2))
    return LabelSet(
        "drawn",
        tuple(map(Label, names, colors, roles)),
        tuple((shuffled[2 * at], shuffled[2 * at + 1]) for at in range(pairs)),
    )


@st.composite
def encodings(draw: st.DrawFn) -> tuple[LabelSet, dict[int, str]]:
    """Ids of a set's labels, several for some, and ids to be ignored."""
    labels = draw(label_sets())
    ids = draw(st.lists(st.integers(0, 253), min_size=len(labels), max_size=200, unique=True))
    names = [*labels.names, *draw(st.lists(st.sampled_from([*labels.names, "ignore"]), max_size=40))]
    return labels, dict(zip(ids, names, strict=False))


@given(label_sets())
@settings(max_examples=50, deadline=None)
def test_a_set_survives_json_and_a_config(labels: LabelSet):
    assert LabelSet.from_dict(labels.to_dict(), "x") == labels
    assert Config.from_json(Config(labels=labels, model=NARROW).to_json()).labels == labels


@given(label_sets(), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_is_the_identity(labels: LabelSet, seed: int):
    flip: Any = dict.fromkeys(
        ("rotation", "scale", "shift", "brightness", "contrast", "saturation", "hue"), 0.0
    )
    augment = Augmentation(AugmentConfig(flip=1.0, **flip), labels)
    ids = np.random.default_rng(seed).integers(0, len(labels), (2, 8, 8))
    images, masks = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.from_numpy(ids).to(torch.uint8)
    masks[:, 0, 0] = 255
    once = augment(images, masks)[1]
    assert torch.equal(augment(images, once)[1], masks)
    assert torch.equal(
        once[:, 1:].flip(2), torch.tensor(labels.flipped_ids)[masks[:, 1:].long()].to(torch.uint8)
    )


@given(encodings())
@settings(max_examples=50, deadline=None)
def test_encoding_and_decoding_is_the_identity(drawn: tuple[LabelSet, dict[int, str]]):
    labels, ids = drawn
    found = read_encoding(",".join(f"{index}={name}" for index, name in ids.items()), labels)
    present = np.array([labels.ids[name] for name in labels.names if name not in found.missing], np.uint8)
    assert found.table()[inverse_table(found)[present]].tolist() == present.tolist()
    for index, name in ids.items():
        assert found.table()[index] == (255 if name == "ignore" else labels.ids[name])
    assert (found.table() == 254).sum() == 255 - len(ids), "no other id has a meaning, but 255"


@given(st.integers(2, 64))
@settings(max_examples=8, deadline=None)
def test_the_count_fits_the_built_network(classes: int):
    network = build(NARROW, classes)
    assert count_parameters(network) == count_lisa(NARROW.widths, NARROW.depths, classes=classes)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape[1] == classes
