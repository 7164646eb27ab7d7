#!/usr/bin/env bash
# torchrun with this machine's facts filled in.
#
#   ./launch.sh                                            demonstration on synthetic faces
#   ./launch.sh [recipe] --data ROOT --output runs/x ...   training; --help lists the options
#   ./launch.sh --dry-run ...                              only prints the torchrun line
#
# One process per GPU, two on a CPU machine; NPROC overrides. Several nodes: the same command on each, with
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host [MASTER_PORT=29500]    (NODE_RANK=1 on the second, and so on)
# Under Slurm (srun --ntasks-per-node=1 ./launch.sh ...) these come from the job.
# The rendezvous and the process group are for trusted networks: they know no authentication.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

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
    NNODES=${NNODES:-$SLURM_JOB_NUM_NODES}
    NODE_RANK=${NODE_RANK:-$SLURM_NODEID}
    MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
    MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
}

processes() {
    if [ -n "${NPROC:-}" ]; then echo "$NPROC"; return; fi
    local gpus=0
    if command -v nvidia-smi >/dev/null; then gpus=$(python -c 'import torch; print(torch.cuda.device_count())'); fi
    if [ "$gpus" -gt 0 ]; then echo "$gpus"; return; fi
    echo $(($(nproc) > 1 ? 2 : 1))
}

if [ $# -eq 0 ]; then demonstrate; exit; fi

dry_run=
if [ "$1" = --dry-run ]; then dry_run=1; shift; fi
# A wrong argument is said once, here, and not by every process.
for word in "$@"; do
    if [ "$word" = -h ] || [ "$word" = --help ]; then exec python -m lisa.command_line --help; fi
done
python -m lisa.command_line "$@"

if [ -n "${SLURM_JOB_NUM_NODES:-}" ]; then read_slurm; fi
NNODES=${NNODES:-1}
if [ "$NNODES" != 1 ]; then
    [ -n "${MASTER_ADDR:-}" ] || die "NNODES=$NNODES, but MASTER_ADDR is not set: the first node's address, on every node"
    [ -n "${NODE_RANK:-}" ] || die "NNODES=$NNODES, but NODE_RANK is not set: 0 on the first node, 1 on the second, ..."
    MASTER_PORT=${MASTER_PORT:-29500}
    is_host=$((NODE_RANK == 0))
    rendezvous=(--rdzv-backend=c10d "--rdzv-endpoint=$MASTER_ADDR:$MASTER_PORT" "--rdzv-id=lisa-$MASTER_PORT" "--rdzv-conf=is_host=$is_host")
else
    [ -z "${NODE_RANK:-}" ] || [ "$NODE_RANK" = 0 ] || die "NODE_RANK=$NODE_RANK, but NNODES is not set: how many nodes are there?"
    rendezvous=(--rdzv-backend=c10d --rdzv-endpoint=localhost:0)
fi
nproc_per_node=$(processes)

line=(torchrun "--nnodes=$NNODES" "--nproc-per-node=$nproc_per_node" "${rendezvous[@]}"
    "--max-restarts=${MAX_RESTARTS:-0}" -m distributed.train "$@")
printf '%q ' "${line[@]}"; echo
if [ -n "$dry_run" ]; then exit; fi

# A new agent joining a surviving one breaks the rendezvous when they share its store.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > nproc_per_node ? cores / nproc_per_node : 1))}
# Page faults of fresh large buffers cost more than the arithmetic on a CPU: let glibc keep its memory.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 MALLOC_TOP_PAD_=67108864
LISA_STATUS_FILE=$(mktemp)
export LISA_STATUS_FILE
trap 'rm -f "$LISA_STATUS_FILE"' EXIT

# In a session of its own, so that Ctrl-C reaches this script alone. It asks the workers, not the agent: they
# finish their step, save and leave, and the agent ends without a traceback.
setsid "${line[@]}" &
agent=$!
ask_workers() { kill -TERM $(cat "/proc/$agent/task/$agent/children" 2>/dev/null) 2>/dev/null || kill -TERM "$agent" 2>/dev/null || true; }
trap ask_workers INT TERM HUP

code=0
wait "$agent" || code=$?
while kill -0 "$agent" 2>/dev/null; do # a trap ends wait early
    code=0
    wait "$agent" || code=$?
done
if [ "$code" -eq 0 ] && [ -s "$LISA_STATUS_FILE" ]; then code=$(<"$LISA_STATUS_FILE"); fi
exit "$code"
