#!/usr/bin/env bash
# Starts training, here or on several nodes: `python -m distributed.launch`, from any folder.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit
if ! command -v torchrun >/dev/null; then
    echo "error: torchrun is not on the PATH: start with 'uv run ./launch.sh', or activate the environment" >&2
    exit 2
fi
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec python -m distributed.launch "$@"
