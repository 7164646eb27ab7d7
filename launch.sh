#!/usr/bin/env bash
# torchrun with this machine's facts filled in.
#
#   ./launch.sh                                            demonstration on synthetic faces
#   ./launch.sh [recipe] --data ROOT --output runs/x ...   training; --help lists the options
#   ./launch.sh --dry-run ...                              only prints the torchrun line
#
# One process per GPU, two on a CPU machine; NPROC overrides. Several nodes: the same command on each, with
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host [MASTER_PORT=29500]    (NODE_RANK=1 on the second, and so on)
#   NNODES=1:4 MASTER_ADDR=host                                  one to four nodes that may come and go
# Under Slurm (srun --ntasks-per-node=1 ./launch.sh ...) these come from the job; see slurm.sbatch.
#   MAX_RESTARTS=3          how often lost workers start again, from the last checkpoint
#   LISA_TIMEOUT=300        seconds until a collective that waits for a lost rank fails
#   GLOO_SOCKET_IFNAME=eth0, NCCL_SOCKET_IFNAME=eth0    the network card that gradients take
# The rendezvous and the process group are for trusted networks: they know no authentication.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

# Seconds that a range's nodes wait for one more before they begin. Who comes later stops them all at a step's
# end, and they go on together: cheap, but not for nothing.
LAST_CALL=15

die() { echo "error: $*" >&2; exit 2; }

command -v torchrun >/dev/null || die "torchrun is not on the PATH: start with 'uv run ./launch.sh', or activate the environment"

demonstrate() {
    local data=data/synthetic run=runs/demo
    python -m lisa.data.synthetic --output "$data" --count 600 --seed 0
    "$here/launch.sh" demo --data "$data" --output "$run" --resume
    python -m deploy.export --checkpoint "$run/best.pt" --output "$run/lisa.ts"
    python "$here/deploy/predict.py" --model "$run/lisa.ts" --input "$data/test/images" \
        --output "$run/predictions" --overlay
    echo
    echo "Done. Look at:"
    echo "  $run/grid.png         picture | truth | prediction | overlay"
    echo "  $run/curves.png       loss and mIoU by epoch"
    echo "  $run/predictions/     label maps and overlays of the test pictures"
    echo "  $run/lisa.ts          the exported parser"
}

read_slurm() {
    [ -n "${SLURM_NODEID:-}" ] || die "SLURM_NODEID is not set: under Slurm start with 'srun --ntasks-per-node=1 ./launch.sh ...'"
    NNODES=${NNODES:-$SLURM_JOB_NUM_NODES}
    NODE_RANK=${NODE_RANK:-$SLURM_NODEID}
    MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
    MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
}

number() { # NAME LEAST: the variable is a whole number, if it is set
    local value=${!1:-$2}
    [[ $value =~ ^(0|[1-9][0-9]{0,5})$ ]] && ((value >= $2)) || die "$1=$value: a whole number, at least $2"
}

# Two lines: the address by which this node reaches the rendezvous (empty without a route), and 1 if it is the
# rendezvous' own. A connected UDP socket knows without sending; a node's own address is reached from itself, or
# from 127.0.0.1 where /etc/hosts gives the node's name as 127.0.1.1.
own_address() {
    python - "$MASTER_ADDR" "$MASTER_PORT" <<'PYTHON'
import socket, sys

host, port = sys.argv[1], int(sys.argv[2])
try:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
except OSError as error:
    sys.exit(f"error: MASTER_ADDR={host}: {error.strerror}; the first node's name or address, on every node")
with socket.socket(family, kind) as probe:
    reachable = probe.connect_ex(address) == 0
    own = probe.getsockname()[0] if reachable else ""
is_host = own == address[0] or own in ("127.0.0.1", "::1")
print(host if is_host else own)
print(int(is_host))
PYTHON
}

processes() {
    if [ -n "${NPROC:-}" ]; then echo "$NPROC"; return; fi
    local gpus=0
    if command -v nvidia-smi >/dev/null; then gpus=$(python -c 'import torch; print(torch.cuda.device_count())'); fi
    if [ "$gpus" -gt 0 ]; then echo "$gpus"; return; fi
    local cores
    cores=$(env -u OMP_NUM_THREADS nproc) # nproc obeys it
    echo $((cores > 1 ? 2 : 1))
}

if [ $# -eq 0 ]; then demonstrate; exit; fi

dry_run=
if [ "$1" = --dry-run ]; then dry_run=1; shift; fi
# A wrong argument is said once, here, and not by every process.
for word in "$@"; do
    if [ "$word" = -h ] || [ "$word" = --help ]; then exec python -m lisa.config --help; fi
done
python -m lisa.config "$@"

if [ -n "${SLURM_JOB_NUM_NODES:-}" ]; then read_slurm; fi
NNODES=${NNODES:-1}
[[ $NNODES =~ ^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$ ]] || die "NNODES=$NNODES: a number of nodes, or a range as 1:4"
least=${NNODES%:*} most=${NNODES#*:}
((least <= most)) || die "NNODES=$NNODES: the smaller number first"
number NPROC 1
number NODE_RANK 0
number MASTER_PORT 1
number MAX_RESTARTS 0
number LISA_TIMEOUT 1

if ((most > 1)); then
    [ -n "${MASTER_ADDR:-}" ] || die "NNODES=$NNODES, but MASTER_ADDR is not set: the first node's address, on every node"
    MASTER_PORT=${MASTER_PORT:-29500}
    ((MASTER_PORT < 65536)) || die "MASTER_PORT=$MASTER_PORT: below 65536"
    if ((least == most)); then
        [ -n "${NODE_RANK:-}" ] || die "NNODES=$NNODES, but NODE_RANK is not set: 0 on the first node, 1 on the second, ..."
        ((NODE_RANK < most)) || die "NODE_RANK=$NODE_RANK, but NNODES=$NNODES: the first node is 0, the last $((most - 1))"
    fi
    address=$(own_address) || exit 2
    { read -r local_addr; read -r is_host; } <<<"$address"
    # Nodes of a range need no numbers: the one that MASTER_ADDR names holds the rendezvous.
    if [ -n "${NODE_RANK:-}" ]; then is_host=$((NODE_RANK == 0)); fi
    rendezvous=(--rdzv-backend=c10d "--rdzv-endpoint=$MASTER_ADDR:$MASTER_PORT" "--rdzv-id=lisa-$MASTER_PORT"
        "--rdzv-conf=is_host=$is_host,last_call_timeout=$LAST_CALL")
    if [ -n "$local_addr" ]; then rendezvous+=("--local-addr=$local_addr"); fi
else
    [ -z "${NODE_RANK:-}" ] || [ "$NODE_RANK" = 0 ] || die "NODE_RANK=$NODE_RANK, but NNODES is not set: how many nodes are there?"
    [ -z "${MASTER_ADDR:-}" ] || [ -n "${SLURM_JOB_ID:-}" ] || die "MASTER_ADDR=$MASTER_ADDR, but NNODES is not set: how many nodes are there?"
    rendezvous=(--rdzv-backend=c10d --rdzv-endpoint=localhost:0)
fi
nproc_per_node=$(processes)

line=(torchrun "--nnodes=$NNODES" "--nproc-per-node=$nproc_per_node" "${rendezvous[@]}"
    "--max-restarts=${MAX_RESTARTS:-3}" -m distributed.train "$@")
printf '%q ' "${line[@]}"; echo
if [ -n "$dry_run" ]; then exit; fi

# A new agent joining a surviving one breaks the rendezvous when they share its store. A store of the workers' own
# takes a port that was free a moment ago: who can neither be joined nor start again is better off without.
if ((most > 1 || ${MAX_RESTARTS:-3} > 0)); then export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1; fi
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > nproc_per_node ? cores / nproc_per_node : 1))}
# Page faults of fresh large buffers cost more than the arithmetic on a CPU: let glibc keep its memory.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 MALLOC_TOP_PAD_=67108864
LISA_STATUS_FILE=$(mktemp)
export LISA_STATUS_FILE
trap 'rm -f "$LISA_STATUS_FILE"' EXIT

# In a session of its own, so that Ctrl-C reaches this script alone. It asks the workers, not the agent: they
# finish their step, save and leave, and the agent ends without a traceback.
# USR1, Slurm's warning before the time limit, may reach every process of the job: the agent would die of it.
(trap '' USR1; exec setsid "${line[@]}") &
agent=$!
asked=
ask_workers() {
    asked=1
    kill -TERM $(cat "/proc/$agent/task/$agent/children" 2>/dev/null) 2>/dev/null || kill -TERM "$agent" 2>/dev/null || true
}
trap ask_workers INT TERM HUP USR1

code=0
wait "$agent" || code=$?
while kill -0 "$agent" 2>/dev/null; do # a trap ends wait early
    code=0
    wait "$agent" || code=$?
done
status=$(<"$LISA_STATUS_FILE")
if [ "$code" -eq 0 ] && [[ $status =~ ^[0-9]+$ ]]; then code=$status; fi
if [ -n "$asked" ] && [ "$code" -gt 128 ]; then code=75; fi # the agent had no workers yet, and died of the signal
exit "$code"
