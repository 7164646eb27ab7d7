"""The closed-form count is the built network's; a network over the cap can't even be written down."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lisa.config import Config, ModelConfig
from lisa.config.parameter_count import count_lisa
from lisa.errors import InputError
from lisa.models import LISA, build, count_parameters


def test_the_published_network():
    assert count_lisa((32, 64, 142, 320, 512), (1, 2, 2, 3, 1)) == 1_999_551
    assert ModelConfig().depths == (1, 2, 2, 3, 1)
    assert [*LISA().state_dict()] == [*build(ModelConfig()).state_dict()]


five_widths = st.tuples(*[st.integers(2, 400)] * 5)
five_depths = st.tuples(*[st.integers(1, 4)] * 5)


@settings(max_examples=20)
@given(
    five_widths,
    five_depths,
    st.floats(0.01, 1),
    st.sampled_from(["prelu", "relu", "gelu"]),
    st.integers(2, 64),
    st.sampled_from([1, 2, 4]),
)
def test_closed_form_is_the_built_networks(
    widths: tuple[int, ...], depths: tuple[int, ...], ratio: float, activation: str, classes: int, fold: int
):
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)  # shapes are enough here
        network = LISA(classes, activation, widths=widths, depths=depths, hamburger_ratio=ratio, fold=fold)
    counted = count_lisa(widths, depths, ratio, activation == "prelu", classes=classes, fold=fold)
    assert count_parameters(network) == counted


def test_a_network_over_the_cap_is_refused_with_its_count():
    with pytest.raises(InputError, match=r"widths \(40, .*have 2,\d\d\d,\d\d\d trainable.*cap is 2,000,000"):
        Config.from_dict({"model": {"widths": [40, 64, 142, 320, 512], "depths": [1, 2, 2, 3, 2]}})
    larger = ModelConfig(depths=(1, 2, 2, 3, 2), max_parameters=3_000_000)
    assert Config(model=larger).model == larger
    with pytest.raises(InputError, match=r"model\.hamburger_ratio = 0"):
        ModelConfig(hamburger_ratio=0)
    with pytest.raises(InputError, match=r"model\.depths = "):
        ModelConfig(depths=(1, 2, 0, 3, 1))
