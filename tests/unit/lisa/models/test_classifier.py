"""The way from one label set to another."""

import torch

from lisa.config import ModelConfig
from lisa.labels import Label, LabelSet, read_label_set
from lisa.models import build
from lisa.models.classifier import carry_over

NARROW = ModelConfig(widths=(4, 4, 6, 6, 8), depths=(1, 1, 1, 1, 1))


def test_rows_go_by_role_then_by_name_and_the_rest_is_fresh():
    celebamask = read_label_set("celebamask")
    labels = (*celebamask.labels[:4], Label("my_right", (1, 2, 3), ("right_eye",)), Label("hat", (4, 5, 6)))
    ours = LabelSet("mine", (*labels, Label("beard", (7, 8, 9), ("beard",))))
    trained, fresh = build(NARROW, 19), build(NARROW, len(ours))
    before = fresh.state_dict()["final.weight"].clone()
    weights, line = carry_over(trained.state_dict(), fresh, celebamask, ours)
    fresh.load_state_dict(weights)
    old, new = trained.state_dict()["final.weight"], fresh.state_dict()["final.weight"]
    for name, source in (("background", 0), ("eye_g", 3), ("my_right", 5), ("hat", 14)):
        index = ours.ids[name]
        assert torch.equal(new[index], old[source])
        assert fresh.state_dict()["final.bias"][index] == trained.state_dict()["final.bias"][source]
    assert torch.equal(new[ours.ids["beard"]], before[ours.ids["beard"]])
    assert line == (
        "classifier of celebamask for mine: background, skin, nose, eye_g, my_right from r_eye, hat taken "
        "over; beard begun afresh"
    )


def test_the_background_stays_the_background_whatever_it_is_called():
    celebamask = read_label_set("celebamask")
    trained, fresh = build(NARROW, 19), build(NARROW, 2)
    face = Label("Face", (1, 2, 3))
    for background in (Label("Background", (0, 0, 0)), Label("rest", (0, 0, 0), ("hair", "background"))):
        ours = LabelSet("mine", (background, face))
        weights, line = carry_over(trained.state_dict(), fresh, celebamask, ours)
        assert torch.equal(weights["final.weight"][0], trained.state_dict()["final.weight"][0])
        taken = f"{background.name} from background taken over; Face begun afresh"
        assert line == f"classifier of celebamask for mine: {taken}"


def test_sets_of_one_size_are_not_mixed_up():
    """Both have nineteen labels: the shapes alone would fit."""
    celebamask, theirs = read_label_set("celebamask"), read_label_set("face-synthetics")
    trained, fresh = build(NARROW, 19), build(NARROW, 19)
    weights, _ = carry_over(trained.state_dict(), fresh, celebamask, theirs)
    old = trained.state_dict()["final.weight"]
    assert torch.equal(weights["final.weight"][theirs.ids["hair"]], old[celebamask.ids["hair"]])
    assert torch.equal(weights["final.weight"][theirs.ids["right_eye"]], old[celebamask.ids["r_eye"]])
    same, line = carry_over(trained.state_dict(), fresh, celebamask, celebamask)
    assert line == ""
    assert torch.equal(same["final.weight"], old)
    other_pairs = LabelSet("mine", celebamask.labels, celebamask.pairs[::-1])
    assert carry_over(trained.state_dict(), fresh, celebamask, other_pairs)[1] == ""
