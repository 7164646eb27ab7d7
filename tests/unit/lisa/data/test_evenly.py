from lisa.data.evenly import evenly


def test_the_ends_are_among_them():
    assert evenly(range(11), 3) == [0, 5, 10]


def test_few_items_are_all():
    assert evenly("ab", 6) == ["a", "b"]
    assert evenly([], 6) == []
