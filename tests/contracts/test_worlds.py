"""The contract that every World keeps: alone, as a process group of one, and over two processes on Gloo."""

import json
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import run_ranks
from world_worker import answers

from distributed.world import ProcessGroupWorld
from lisa.world import World

Answers = list[dict[str, Any]]


class WorldContract:
    """``told`` holds the answers of every rank, in order of rank."""

    silent = "stacks"
    """What a rank's log says that was silent for too long."""

    def test_each_rank_knows_its_place(self, told: Answers):
        assert [each["rank"] for each in told] == list(range(len(told)))
        assert {each["world_size"] for each in told} == {len(told)}
        assert [each["is_main"] for each in told] == [True] + [False] * (len(told) - 1)
        for each in told:
            assert each["place"].startswith(f"rank {each['rank']} on ")

    def test_sums_are_over_all_ranks_and_in_place(self, told: Answers):
        expected = [sum(range(1, len(told) + 1)), 10.0 * len(told)]
        for each in told:
            assert each["same_tensor"]
            assert each["all_sum"] == expected

    def test_what_one_rank_says_all_know(self, told: Answers):
        for each in told:
            assert each["all_max"] == len(told) - 1
            assert each["any"] == [True, False, True]
            assert each["all_gather"] == [{"of": rank} for rank in range(len(told))]

    def test_an_action_gives_its_value_and_a_fault_on_one_rank_is_everyones(self, told: Answers):
        for each in told:
            assert each["value"] == f"value {each['rank']}"
            assert each["fault"] == "the last rank's disk is full"

    def test_a_slow_action_is_waited_for(self, told: Answers):
        for each in told:
            assert each["patient"] == f"value {each['rank']}"
            assert each["gathered"] == list(range(len(told)))
            assert each["patient_fault"] == "rank 0's disk is full"

    def test_gradients_are_averaged_but_while_they_accumulate(self, told: Answers):
        for each in told:
            assert each["own_gradient"] == each["rank"] + 1
            assert each["gradient"] == pytest.approx((len(told) + 1) / 2)

    def test_running_statistics_become_the_ranks_mean(self, told: Answers):
        assert {each["running_mean"] for each in told} == {(len(told) - 1) / 2}

    def test_a_rank_that_beats_in_time_leaves_no_stacks(self, told: Answers):
        assert {each["beaten"] for each in told} == {""}
        assert {each["ended"] for each in told} == {""}

    def test_a_silent_rank_leaves_its_stacks_where_others_would_wait_for_it(self, told: Answers):
        assert {each["silent"] for each in told} == {self.silent}


class TestWorld(WorldContract):
    silent = ""

    @pytest.fixture(scope="class")
    @classmethod
    def told(cls) -> Answers:
        return [answers(World())]


class TestProcessGroupWorldOfOne(WorldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def told(cls) -> Answers:
        return [answers(ProcessGroupWorld())]


@pytest.mark.xdist_group("two processes")  # which start once
class TestTwoProcesses(WorldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def told(cls, tmp_path_factory: pytest.TempPathFactory) -> Answers:
        folder = tmp_path_factory.mktemp("world")
        done = run_ranks("world_worker", folder)
        assert done.returncode == 0, done.stderr
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(2)]

    def test_who_waits_hears_of_the_slow_one_again_and_again(self, told: Answers):
        assert min(each["asked"] for each in told) > 3
