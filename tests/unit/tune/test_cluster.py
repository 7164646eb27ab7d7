"""What is known of a cluster before Ray starts."""

import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from deploy_helpers import write_checkpoint
from ray.tune.trainable import function_trainable

from lisa.config import Config, DataConfig, ModelConfig, TrainConfig
from lisa.errors import InputError
from lisa.labels import Label, LabelSet
from tune.arguments import Options
from tune.cluster import ENVIRONMENT, check_faces, check_start, faults_here, open_cluster
from tune.torchrun import PATIENCE_SECONDS

NO_WORKERS = Config(DataConfig(workers=0))


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_rays_sockets_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch):
    for other in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    check_start("", NO_WORKERS)
    monkeypatch.setattr("os.getpid", lambda: 12345)
    monkeypatch.setenv(name, "/" + 41 * "x")
    with pytest.raises(
        InputError, match=rf"^{name}=/x+ is 1 bytes too long for Ray's sockets: set RAY_TMPDIR"
    ):
        check_start("", NO_WORKERS)
    check_start("auto", NO_WORKERS)  # a cluster's sockets are not ours
    monkeypatch.setenv(name, "/" + 40 * "x")
    check_start("", NO_WORKERS)


def test_ray_waits_for_a_stopped_trials_torchrun_before_it_takes_the_process_for_the_next():
    """Ray waits two seconds otherwise, and throws the next trial away unrun."""
    name = "TUNE_FUNCTION_THREAD_TIMEOUT_S"
    assert int(ENVIRONMENT[name]) > 3 * PATIENCE_SECONDS
    assert f'os.environ.get("{name}"' in Path(function_trainable.__file__).read_text()


def test_rays_own_folder_counts_where_both_are_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", "/" + 100 * "x")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_start("", NO_WORKERS)  # TMPDIR alone would be refused


@pytest.mark.parametrize(
    "options", [Options(processes_per_trial=4), Options(gpus_per_trial=4)], ids=["processes", "gpus"]
)
def test_a_batch_too_small_for_a_trials_processes_is_refused_before_ray_starts(options: Options):
    """Each trial would fail with it, and be tried again three times."""
    processes = options.processes(options.gpus(available=1))
    small = replace(NO_WORKERS, train=TrainConfig(batch_size=3))
    check_start("", small, Options().processes(Options().gpus(available=1)))
    with pytest.raises(InputError, match=r"--batch-size 3: at least one picture .* trial's 4 processes"):
        check_start("", small, processes)


def test_a_label_of_one_side_is_refused_before_ray_starts():
    labels = LabelSet("one", (Label("rest", (0, 0, 0)), Label("left_eye", (0, 0, 9))))
    with pytest.raises(InputError, match="left_eye: no label for the other side"):
        check_start("", replace(NO_WORKERS, labels=labels))


def test_a_cluster_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def init(*arguments: object, **options: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with (
        pytest.raises(InputError, match=r"no Ray cluster at this machine: The current node timed out"),
        open_cluster(""),
    ):
        pass


@pytest.mark.parametrize("when", ["while Ray starts", "afterwards"])
def test_sigterm_stops_as_ctrl_c_does_whatever_ray_made_of_it(when: str, monkeypatch: pytest.MonkeyPatch):
    def init(*arguments: object, **options: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
        if when == "while Ray starts":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: None))
    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), open_cluster(""):
            signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def test_dev_shm_must_hold_the_batches_of_all_trials_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two trials of two processes, each with two workers: 7 batches of 4 pictures, 4 bytes a pixel."""
    (tmp_path / "search.json").touch()
    data = DataConfig(root=str(tmp_path), size=256, workers=2)
    config = Config(data, train=TrainConfig(batch_size=8), output=str(tmp_path))
    needed = 4 * 7 * 4 * 4 * 256**2

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))

    free(needed)
    assert faults_here(config, trials=2, processes=2) == []
    free(needed - 1)
    (fault,) = faults_here(config, trials=2, processes=2)
    assert "8 decoding processes need 28 MiB" in fault
    elsewhere, _ = faults_here(replace(config, output=str(tmp_path / "gone")), 2, 2)
    assert "gone is not there, or not the one that the search writes" in elsewhere
    for_one = needed // 2  # one process takes two's pictures, with half of their workers
    free(for_one)
    check_start("", config)
    free(for_one - 1)
    with pytest.raises(InputError, match="2 decoding processes need 14 MiB"):
        check_start("", config)


def test_a_network_that_does_not_exist_is_refused_before_ray_starts():
    with pytest.raises(InputError, match=r"model\.name = 'unett': one of lisa"):
        check_start("", replace(NO_WORKERS, model=ModelConfig(name="unett")))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_bad_mask_is_refused_before_the_first_trial(split: str, make_faces: Callable[..., Path]):
    """Each trial would meet it, and be tried again three times."""
    root = make_faces()
    config = Config(DataConfig(root=str(root)))
    check_faces(config)
    mask = next((root / split / "masks").iterdir())
    mask.write_bytes(b"")
    with pytest.raises(InputError, match=mask.name):
        check_faces(config)


def test_a_repair_list_that_is_not_there_is_refused_before_the_first_trial(make_faces: Callable[..., Path]):
    data = DataConfig(root=str(make_faces()), repair="nowhere.txt")
    with pytest.raises(InputError, match=r"data\.repair nowhere\.txt"):
        check_faces(Config(data))


def test_weights_of_another_network_are_refused_before_the_first_trial(tmp_path: Path):
    """Each trial would meet them, and be tried again three times."""
    unet = write_checkpoint(tmp_path / "unet.pt", "unet")
    with pytest.raises(InputError, match=r"unet\.pt: weights of another network .* --model\.name unet"):
        check_start("", replace(NO_WORKERS, train=TrainConfig(init=str(unet))))
