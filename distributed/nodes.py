"""From environment variables to torchrun's options: how many nodes and processes, and where they meet.

Pure functions of an environment; ``distributed.launch`` runs what they say.
"""

import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from lisa.errors import InputError

LAST_CALL = 15
"""Seconds that the nodes of a range wait for one more before they begin.

A node that comes later stops the others at the end of a step, and all go on together.
"""

DEFAULT_PORT = 29500

Variables = Mapping[str, str]


@dataclass(frozen=True)
class Nodes:
    """The nodes of a run, as the variables NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT describe them."""

    least: int = 1
    most: int = 1
    rank: int | None = None
    """This node's number; nodes of a range need none."""
    address: str = ""
    """The first node's; empty for a single node."""
    port: int = DEFAULT_PORT

    @property
    def count(self) -> str:
        """torchrun's ``--nnodes``."""
        return str(self.most) if self.least == self.most else f"{self.least}:{self.most}"


def read_nodes(variables: Variables) -> Nodes:
    """The nodes that these variables describe, Slurm's and Kubernetes' included.

    Raises InputError for values that are wrong, contradict each other, or are half set.
    """
    given = (
        _named_by_slurm(variables)
        if variables.get("SLURM_JOB_NUM_NODES")
        else _named_by_kubernetes(variables)
    )
    least, most = _node_range(given.get("NNODES") or "1")
    rank = whole_number(given, "NODE_RANK", 0)
    port = whole_number(given, "MASTER_PORT", 1)
    address = given.get("MASTER_ADDR", "")
    if most > 1:
        return _several(Nodes(least, most, rank, address, DEFAULT_PORT if port is None else port))
    if not given.get("NNODES"):
        for name, unset in (("NODE_RANK", rank in (None, 0)), ("MASTER_ADDR", not address)):
            if not unset:
                raise InputError(f"{name}={given[name]}, but NNODES is not set: how many nodes are there?")
    elif rank:
        raise InputError(f"NNODES=1, but NODE_RANK or RANK is {rank}: a single node is 0")
    return Nodes(rank=rank)


def whole_number(variables: Variables, name: str, least: int) -> int | None:
    """The variable's value; None if it is unset or empty. Raises InputError below ``least``."""
    text = variables.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"0|[1-9][0-9]{0,5}", text) or int(text) < least:
        raise InputError(f"{name}={text}: a whole number, at least {least}")
    return int(text)


def read_processes(variables: Variables) -> int | None:
    """The processes of this node: NPROC, or the number that Kubeflow's operators give; None to count GPUs."""
    processes = whole_number(variables, "NPROC", 1)
    if processes is not None or variables.get("PET_NPROC_PER_NODE", "").isalpha():  # "auto", "gpu", "cpu"
        return processes
    return whole_number(variables, "PET_NPROC_PER_NODE", 1)


def rendezvous_options(nodes: Nodes) -> list[str]:
    """torchrun's options for where the nodes meet: a free port of this machine for a single node."""
    if nodes.most == 1:
        return ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    local_address, is_host = own_address(nodes.address, nodes.port)
    if nodes.rank is not None:
        is_host = nodes.rank == 0
    options = [
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={nodes.address}:{nodes.port}",
        f"--rdzv-id=lisa-{nodes.port}",
        f"--rdzv-conf=is_host={int(is_host)},last_call_timeout={LAST_CALL}",
    ]
    return [*options, f"--local-addr={local_address}"] if local_address else options


def own_address(host: str, port: int) -> tuple[str, bool]:
    """This node's address on its way to ``host`` ("" without a route), and whether ``host`` is this node.

    A connected UDP socket knows its own address without sending. A node reaches its own address from that
    address, or from 127.0.0.1 where /etc/hosts gives the node's name as 127.0.1.1. Raises InputError for an
    unknown host.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise InputError(
            f"MASTER_ADDR={host}: {error.strerror}; the first node's name or address, on every node"
        ) from None
    with socket.socket(family, kind) as probe:
        reachable = probe.connect_ex(address) == 0
        own = str(probe.getsockname()[0]) if reachable else ""
    is_host = own == address[0] or own in ("127.0.0.1", "::1")
    return (host if is_host else own), is_host


def _node_range(text: str) -> tuple[int, int]:
    """The fewest and the most nodes of "4" or "1:4"."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?", text):
        raise InputError(f"NNODES={text}: a number of nodes, or a range as 1:4")
    least, _, most = text.partition(":")
    if int(most or least) < int(least):
        raise InputError(f"NNODES={text}: the smaller number first")
    return int(least), int(most or least)


def _several(nodes: Nodes) -> Nodes:
    """The same nodes, or InputError if one of them could not find the others."""
    told = f"NNODES={nodes.count}"
    if not nodes.address:
        raise InputError(f"{told}, but MASTER_ADDR is not set: the first node's address, on every node")
    if nodes.port > 65535:
        raise InputError(f"MASTER_PORT={nodes.port}: below 65536")
    if nodes.least == nodes.most:
        if nodes.rank is None:
            raise InputError(f"{told}, but NODE_RANK is not set: 0 on the first node, 1 on the second, ...")
        if nodes.rank >= nodes.most:
            raise InputError(
                f"NODE_RANK={nodes.rank}, but {told}: the first node is 0, the last {nodes.most - 1}"
            )
    return nodes


def _named_by_slurm(variables: Variables) -> Variables:
    """The variables, with those that are not set taken from the Slurm step, or from the job outside of one.

    The port tells the steps of a job apart. Nodes that are given MASTER_PORT meet there, of whatever job.
    """
    if not variables.get("SLURM_NODEID"):
        raise InputError(
            "SLURM_NODEID is not set: under Slurm start with 'srun --ntasks-per-node=1 ./launch.sh ...'"
        )
    scope = "STEP" if variables.get("SLURM_STEP_NUM_NODES") else "JOB"
    given = {
        "NNODES": variables[f"SLURM_{scope}_NUM_NODES"],
        "NODE_RANK": variables["SLURM_NODEID"],
        **_set(variables),
    }
    if given["NNODES"] == "1":
        return given  # and needs no address: in a container there is no scontrol
    if "MASTER_PORT" not in given:
        given["MASTER_PORT"] = str(20000 + _slurm_number(variables) % 20000)
    if "MASTER_ADDR" not in given:
        given["MASTER_ADDR"] = _first_host(variables, f"SLURM_{scope}_NODELIST")
    return given


def _slurm_number(variables: Variables) -> int:
    """A number for job and step. Steps are 997 apart, since neighbouring numbers belong to the next jobs."""
    job, step = variables.get("SLURM_JOB_ID", ""), variables.get("SLURM_STEP_ID") or "0"
    for name, value in (("SLURM_JOB_ID", job), ("SLURM_STEP_ID", step)):
        if not re.fullmatch(r"[0-9]{1,10}", value):
            told = f"{name}={value} is no whole number" if value else f"{name} is not set"
            raise InputError(f"{told}: set MASTER_PORT, the same on every node")
    return int(job) + 997 * int(step)


def _first_host(variables: Variables, name: str) -> str:
    """The first of the nodes that the variable ``name`` lists as Slurm does."""
    if not variables.get(name):
        raise InputError(f"{name} is not set: set MASTER_ADDR, the first node's address, on every node")
    words = ["scontrol", "show", "hostnames", variables[name]]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        raise InputError(
            f"{' '.join(words)} named no host: set MASTER_ADDR, the first node's address"
        ) from None


def _named_by_kubernetes(variables: Variables) -> Variables:
    """The variables, with those that are not set taken from what a training operator gives each pod.

    Kubeflow's operators set PET_NNODES and PET_NODE_RANK, torchrun's own variables. Older ones set only
    MASTER_ADDR, MASTER_PORT, and in RANK and WORLD_SIZE the pod's number and the number of pods; newer ones
    count processes in WORLD_SIZE. So RANK is this node's number only where WORLD_SIZE equals NNODES.
    """
    given = _set(variables)
    for name in ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if f"PET_{name}" in given:
            given.setdefault(name, given[f"PET_{name}"])
    world_size, rank = given.get("WORLD_SIZE"), given.get("RANK")
    if world_size is None or rank is None:
        return given
    if "NNODES" not in given:
        if world_size != "1":
            raise InputError(
                f"WORLD_SIZE={world_size} and RANK={rank} are set, but not NNODES: nodes or processes? "
                "Set NNODES to the number of nodes and NODE_RANK to this node's, from 0"
            )
        given["NNODES"] = "1"
    if world_size == given["NNODES"] or given["NNODES"] == "1":
        given.setdefault("NODE_RANK", rank)
    return given


def _set(variables: Variables) -> dict[str, str]:
    """The variables without the empty ones."""
    return {name: value for name, value in variables.items() if value}
