"""Environment variables become torchrun's options, or one line that names the wrong one."""

import socket
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from distributed import nodes
from distributed.launch import ROOT, Launch, plan_launch
from lisa.errors import InputError

SLURM = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "40007"}
STEP = {
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_JOB_NODELIST": "node[5-8]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "node[7-8]",
    "SLURM_STEP_ID": "0",
    "SLURM_NODEID": "0",
}
TWO = {"NNODES": "2", "MASTER_ADDR": "localhost"}
POD = {"MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456", "WORLD_SIZE": "1", "RANK": "0"}
"""What Kubeflow's PyTorchJob gives the pod of a job with one."""
PODS = {**POD, "MASTER_ADDR": "localhost", "WORLD_SIZE": "2", "RANK": "1"}
"""The second of two, by an older operator."""
PET = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_NPROC_PER_NODE": "4"}


@pytest.fixture(autouse=True)
def hostnames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for Slurm's scontrol."""

    def scontrol(words: list[str], **options: object) -> CompletedProcess[str]:
        assert words == ["scontrol", "show", "hostnames", "node[7-8]"]
        return CompletedProcess(words, 0, stdout="localhost\nnode8\n")

    monkeypatch.setattr(nodes.subprocess, "run", scontrol)


def plan(variables: dict[str, str], gpus: int = 0, cores: int = 4) -> Launch:
    return plan_launch(["best", "--data", "my faces"], variables, lambda: gpus, cores)


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, ["--nnodes=1", "--rdzv-endpoint=localhost:0", "--max-restarts=3"]),
        ({"MAX_RESTARTS": "0"}, ["--max-restarts=0"]),
        (
            {"NNODES": "1:4", "MASTER_ADDR": "localhost"},
            ["--nnodes=1:4", "--rdzv-endpoint=localhost:29500", "--local-addr=localhost"],
        ),
        ({"NNODES": "1:4", "MASTER_ADDR": "localhost"}, ["--rdzv-conf=is_host=1,last_call_timeout=15"]),
        # As /etc/hosts gives a node's own name on Debian: reached from 127.0.0.1.
        (
            {"NNODES": "1:4", "MASTER_ADDR": "127.0.1.1"},
            ["--rdzv-conf=is_host=1,last_call_timeout=15", "--local-addr=127.0.1.1"],
        ),
        # 192.0.2.0/24 is kept for documentation: nobody's address, so the rendezvous is elsewhere.
        ({"NNODES": "1:4", "MASTER_ADDR": "192.0.2.1"}, ["--rdzv-conf=is_host=0,last_call_timeout=15"]),
        ({**TWO, "NODE_RANK": "0", "NPROC": "8"}, ["--nproc-per-node=8"]),
        (
            {**SLURM, "SLURM_NODEID": "1"},
            [
                "--nnodes=2",
                "--rdzv-endpoint=localhost:20007",
                "--rdzv-id=lisa-20007",
                "--rdzv-conf=is_host=0,last_call_timeout=15",
            ],
        ),
        (
            {**SLURM, "SLURM_NODEID": "0", "MASTER_PORT": "1234"},
            ["--rdzv-endpoint=localhost:1234", "--rdzv-conf=is_host=1,last_call_timeout=15"],
        ),
        # A single node needs no address, and scontrol is not asked.
        ({"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "x", "SLURM_NODEID": "0"}, ["--nnodes=1"]),
        ({"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", "MASTER_PORT": "99999"}, ["--nnodes=1"]),
        # srun -N1 or -N2 in a job of four nodes: the step counts, and meets on a port of its own.
        ({**SLURM, **STEP, "SLURM_STEP_NUM_NODES": "1"}, ["--nnodes=1", "--rdzv-endpoint=localhost:0"]),
        (
            {**SLURM, **STEP},
            [
                "--nnodes=2",
                "--rdzv-endpoint=localhost:20007",
                "--rdzv-id=lisa-20007",
                "--rdzv-conf=is_host=1,last_call_timeout=15",
            ],
        ),
        (
            {**SLURM, **STEP, "SLURM_STEP_ID": "1"},
            ["--rdzv-endpoint=localhost:21004", "--rdzv-id=lisa-21004"],
        ),
        # Told where to meet, nodes of different jobs or steps do.
        (
            {**SLURM, **STEP, "SLURM_STEP_ID": "1", "MASTER_PORT": "1234"},
            ["--rdzv-endpoint=localhost:1234", "--rdzv-id=lisa-1234"],
        ),
        # Kubernetes: one pod; two pods by torchrun's variables, or by RANK where WORLD_SIZE counts nodes.
        (POD, ["--nnodes=1", "--rdzv-endpoint=localhost:0"]),
        ({**POD, "NNODES": "1"}, ["--nnodes=1", "--rdzv-endpoint=localhost:0"]),
        ({**POD, "NNODES": "1", "WORLD_SIZE": "8", "NPROC": "8"}, ["--nnodes=1", "--nproc-per-node=8"]),
        (
            {**PODS, **PET, "WORLD_SIZE": "8"},
            [
                "--nnodes=2",
                "--nproc-per-node=4",
                "--rdzv-endpoint=localhost:23456",
                "--rdzv-conf=is_host=0,last_call_timeout=15",
            ],
        ),
        (
            {**PET, "PET_NPROC_PER_NODE": "auto", "PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": "5"},
            ["--nnodes=2", "--nproc-per-node=2", "--rdzv-endpoint=localhost:5"],
        ),
        ({"PET_NPROC_PER_NODE": "0", "NPROC": "3"}, ["--nproc-per-node=3"]),
        ({**PODS, "NNODES": "2"}, ["--nnodes=2", "--rdzv-conf=is_host=0,last_call_timeout=15"]),
    ],
)
def test_variables_become_options(variables: dict[str, str], options: list[str]):
    planned = plan(variables).options
    assert set(options) <= set(planned)
    assert planned[-5:] == ["-m", "distributed.train", "best", "--data", "my faces"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NNODES": "many"}, "NNODES=many: a number of nodes, or a range"),
        ({"NNODES": "4:1", "MASTER_ADDR": "localhost"}, "NNODES=4:1: the smaller number first"),
        ({"NNODES": "1:4"}, "NNODES=1:4, but MASTER_ADDR is not set"),
        ({"NNODES": "2", "NODE_RANK": "0"}, "NNODES=2, but MASTER_ADDR is not set"),
        (TWO, "NNODES=2, but NODE_RANK is not set"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1, but NNODES is not set"),
        ({"MASTER_ADDR": "node0"}, "MASTER_ADDR=node0, but NNODES is not set"),
        ({"NNODES": "1", "NODE_RANK": "1"}, "NNODES=1, but NODE_RANK or RANK is 1"),
        ({**TWO, "NODE_RANK": "2"}, "NODE_RANK=2, but NNODES=2: the first node is 0, the last 1"),
        ({**TWO, "NODE_RANK": "first"}, "NODE_RANK=first: a whole number"),
        ({**TWO, "NODE_RANK": "0", "MASTER_PORT": "99999"}, "MASTER_PORT=99999: below 65536"),
        ({"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "no.such.host.invalid"}, "MASTER_ADDR=no.such"),
        ({"NPROC": "0"}, "NPROC=0: a whole number, at least 1"),
        ({"PET_NPROC_PER_NODE": "0"}, "PET_NPROC_PER_NODE=0: a whole number, at least 1"),
        ({"PET_NPROC_PER_NODE": "-1"}, "PET_NPROC_PER_NODE=-1: a whole number, at least 1"),
        ({"MAX_RESTARTS": "-1"}, "MAX_RESTARTS=-1: a whole number, at least 0"),
        ({"LISA_TIMEOUT": "5m"}, "LISA_TIMEOUT=5m: a whole number, at least 1"),
        (SLURM, "SLURM_NODEID is not set: under Slurm start with 'srun"),
        ({**SLURM, "SLURM_NODEID": "1", "SLURM_JOB_ID": ""}, "SLURM_JOB_ID is not set: set MASTER_PORT"),
        ({**SLURM, "SLURM_NODEID": "1", "SLURM_JOB_ID": "a"}, "SLURM_JOB_ID=a is no whole number: set"),
        ({**SLURM, **STEP, "SLURM_STEP_ID": "b"}, "SLURM_STEP_ID=b is no whole number: set"),
        ({**SLURM, "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": ""}, "SLURM_JOB_NODELIST is not set: set M"),
        ({**SLURM, **STEP, "SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is not set: set MASTER_ADDR"),
        (PODS, "WORLD_SIZE=2 and RANK=1 are set, but not NNODES: nodes or processes?"),
        ({**PODS, "NNODES": "2", "WORLD_SIZE": "8"}, "NNODES=2, but NODE_RANK is not set"),
        ({**PODS, "NNODES": "1"}, "NNODES=1, but NODE_RANK or RANK is 1"),
    ],
)
def test_wrong_and_half_set_variables_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
):
    if "invalid" in variables.get("MASTER_ADDR", ""):

        def unknown(*arguments: object, **options: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(nodes.socket, "getaddrinfo", unknown)
    with pytest.raises(InputError) as refused:
        plan(variables)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_slurm_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def missing(*arguments: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(nodes.subprocess, "run", missing)
    with pytest.raises(InputError, match=r"scontrol show hostnames node\[7-8\] named no host"):
        plan({**SLURM, "SLURM_NODEID": "1"})


@pytest.mark.parametrize(
    ("gpus", "cores", "expected"), [(8, 2, 8), (1, 64, 1), (0, 64, 2), (0, 2, 2), (0, 1, 1)]
)
def test_one_process_per_gpu_and_two_on_a_cpu_machine(gpus: int, cores: int, expected: int):
    assert f"--nproc-per-node={expected}" in plan({}, gpus, cores).options


def test_the_environment_of_the_workers():
    given = {"NPROC": "2", "PYTHONPATH": "mine"}
    environment = plan(given, cores=8).environment
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["PYTHONPATH"].split(":") == [str(ROOT), "mine"]
    assert environment["MALLOC_MMAP_MAX_"] == "0"
    assert environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
    once = plan({**given, "MAX_RESTARTS": "0", "OMP_NUM_THREADS": "3"}).environment
    assert once["OMP_NUM_THREADS"] == "3"
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" not in once
    several = plan({**given, **TWO, "NODE_RANK": "0", "MAX_RESTARTS": "0"}).environment
    assert several["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"


def test_gpus_are_not_counted_where_nproc_says_how_many():
    def never() -> int:
        raise AssertionError("torch was asked")

    assert plan_launch([], {"NPROC": "3"}, never, 1).options[1] == "--nproc-per-node=3"


def test_the_checkout_is_found():
    assert (ROOT / "launch.sh").is_file()
    assert Path(nodes.__file__).parent == ROOT / "distributed"
