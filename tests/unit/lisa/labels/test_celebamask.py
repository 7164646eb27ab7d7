from lisa.labels import FLIP_PAIRS, FLIPPED_IDS, LABELS, NAMES, NUM_CLASSES, PAINT_ORDER, PALETTE


def test_contract_is_consistent():
    assert NUM_CLASSES == 19 == len(set(NAMES))
    assert len(PALETTE) == 57
    assert len({label.color for label in LABELS}) == 19
    assert sorted(PAINT_ORDER) == sorted(NAMES[1:])
    assert [FLIPPED_IDS[index] for index in FLIPPED_IDS] == list(range(19))
    for left, right in FLIP_PAIRS:
        assert NAMES[left].removeprefix("l_") == NAMES[right].removeprefix("r_")
