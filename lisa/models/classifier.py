"""From one label set to another: the rows of a trained classifier for the labels of a new network."""

from collections.abc import Mapping

from torch import Tensor, nn

from lisa.labels import LabelSet

CLASSIFIER = ("final.weight", "final.bias")
"""All networks call their classifier ``final``: (labels,C,1,1) and (labels,).

Where pixels are folded into channels (:class:`lisa.models.lisa.LISA`) a label has a block of fold**2 rows.
"""


def carry_over(
    weights: Mapping[str, Tensor], network: nn.Module, theirs: LabelSet, ours: LabelSet
) -> tuple[dict[str, Tensor], str]:
    """Weights of a network of label set ``theirs`` for one of ``ours``, and a line that says which rows.

    Of the state dict ``weights`` only the tensors of CLASSIFIER change, to our number of rows.
    The first label's row is that of the first, for both are the background. Another one's is that of the
    label with its first role that one of theirs covers, else that of its namesake. Labels without either keep
    the rows of ``network``, which are fresh.
    """
    found = dict(weights)
    if theirs.labels == ours.labels:
        return found, ""
    sources = {name: _counterpart(name, theirs, ours) for name in ours.names}
    fresh = network.state_dict()
    for key in CLASSIFIER:
        if len(weights[key]) % len(theirs):
            return found, ""
        old, new = _by_label(weights[key], theirs), _by_label(fresh[key].clone(), ours)
        if old.shape[1:] != new.shape[1:]:
            return found, ""  # of another network: whoever loads them says so
        for index, name in enumerate(ours.names):
            source = sources[name]
            if source is not None:
                new[index] = old[theirs.ids[source]]
        found[key] = new.flatten(0, 1)
    taken = [
        name if name == source else f"{name} from {source}" for name, source in sources.items() if source
    ]
    new = [name for name, source in sources.items() if source is None]
    line = f"classifier of {theirs.name} for {ours.name}: {', '.join(taken) or 'no label'} taken over"
    return found, f"{line}; {', '.join(new)} begun afresh" if new else line


def _by_label(rows: Tensor, labels: LabelSet) -> Tensor:
    """(labels*n,...) to a view (labels,n,...)."""
    return rows.unflatten(0, (len(labels), -1))


def _counterpart(name: str, theirs: LabelSet, ours: LabelSet) -> str | None:
    if name == ours.names[0]:
        return theirs.names[0]
    roles = ours.labels[ours.ids[name]].roles
    shared = (theirs.names[theirs.by_role[role]] for role in roles if role in theirs.by_role)
    return next(shared, name if name in theirs.ids else None)
