from lisa.labels import NAMES, NUM_CLASSES, PAINT_ORDER, PALETTE
from lisa.labels.celebamask import CELEBAMASK


def test_contract_is_consistent():
    assert NUM_CLASSES == 19 == len(set(NAMES))
    assert len(PALETTE) == 57
    assert len({label.color for label in CELEBAMASK.labels}) == 19
    assert sorted(PAINT_ORDER) == sorted(NAMES[1:])
    assert [CELEBAMASK.flipped_ids[index] for index in CELEBAMASK.flipped_ids] == list(range(19))
    for left, right in CELEBAMASK.flip_pairs:
        assert NAMES[left].removeprefix("l_") == NAMES[right].removeprefix("r_")
