"""How the command line reads a label set: a built-in one by its name, or a file."""

from typing import Annotated

import tyro

from lisa.labels import BUILT_IN, LabelSet, read_label_set

LabelFlag = Annotated[
    LabelSet,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(BUILT_IN)}}}|FILE",
        instance_from_str=lambda words: read_label_set(words[0]),
        is_instance=lambda value: isinstance(value, LabelSet),
        str_from_instance=lambda labels: [labels.name],
    ),
]
