"""Reads what the report's author published: a plain state dict under other names."""

import re
from collections.abc import Mapping

from torch import Tensor

from lisa.errors import InputError, listing
from lisa.labels import NUM_CLASSES
from lisa.models.lisa import LISA

# Their name -> ours, all applied in this order.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^(enc[15])\.(?=conv|msca)", r"\1.0."),
    (r"\.conv\.conv\.conv\.", ".unit.depthwise."),
    (r"\.conv\.conv\.bn\.", ".unit.depthwise_norm."),
    (r"\.conv\.conv\.prelu\.", ".unit.activation."),
    (r"\.conv\.project\.conv\.", ".unit.pointwise."),
    (r"\.conv\.project\.bn\.", ".unit.pointwise_norm."),
    (r"\.msca\.conv0\.", ".msca.local."),
    (r"\.msca\.conv0_1\.", ".msca.strips7.0."),
    (r"\.msca\.conv0_2\.", ".msca.strips7.1."),
    (r"\.msca\.conv1_1\.", ".msca.strips11.0."),
    (r"\.msca\.conv1_2\.", ".msca.strips11.1."),
    (r"\.msca\.conv2_1\.", ".msca.strips21.0."),
    (r"\.msca\.conv2_2\.", ".msca.strips21.1."),
    (r"\.msca\.conv3\.", ".msca.mix."),
    (r"^hamburger\.conv1\.", "hamburger.reduce."),
    (r"^hamburger\.conv2\.", "hamburger.inner."),
    (r"^hamburger\.conv3\.", "hamburger.expand."),
)


def our_key(published_key: str) -> str:
    """Our name of a tensor in the published state dict."""
    key = published_key.removeprefix("module.")
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def their_key(key: str) -> str:
    """The published name of one of our tensors."""
    key = re.sub(r"^(enc[15])\.0\.", r"\1.", key)
    for pattern, replacement in _RENAMES[1:]:
        theirs = re.sub(r"\\\.", ".", pattern).lstrip("^")
        if replacement in key:
            return key.replace(replacement, theirs)
    return key


def is_published(content: object) -> bool:
    """Whether this is a plain state dict under the author's names, whole or not."""
    return (
        isinstance(content, Mapping)
        and all(isinstance(value, Tensor) for value in content.values())
        and any(str(key).removeprefix("module.").startswith("enc1.conv.conv.") for key in content)
    )


def from_published(state: Mapping[str, Tensor]) -> LISA:
    """Builds the LISA network with the author's weights.

    ``state`` is the published state dict. The number of classes is read from the classifier.

    Raises:
        InputError: names each missing, unknown or misshapen key as the published file spells it.
    """
    published = {our_key(key): key for key in state}
    classifier = state.get(published.get("final.weight", ""))
    network = LISA(num_classes=classifier.shape[0] if classifier is not None else NUM_CLASSES)
    expected = network.state_dict()
    faults = [f"missing: {their_key(key)}" for key in expected if key not in published]
    faults += [f"unknown: {theirs}" for ours, theirs in published.items() if ours not in expected]
    faults += [
        f"shape of {theirs}: {tuple(state[theirs].shape)}, expected {tuple(expected[ours].shape)}"
        for ours, theirs in published.items()
        if ours in expected and state[theirs].shape != expected[ours].shape
    ]
    if faults:
        raise InputError("not the published LISA state dict:\n" + listing(faults))
    network.load_state_dict({ours: state[theirs] for ours, theirs in published.items()})
    return network
