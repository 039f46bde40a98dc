#!/bin/bash
# Trains on the GPUs of several machines; run it on each of them with the same arguments:
#   NODES=2 MASTER=first-machine scripts/train_nodes.sh CONFIG.yaml [key=value ...]
# The output folder must be on storage that all machines share: the first process writes it. Pictures
# may be on each machine's own disk, or in shards on shared storage with crops.decode=always, which
# reads them in place.
set -euo pipefail
: "${NODES:?how many machines}" "${MASTER:?name of one of them}"
processes=${PROCESSES:-$(python -c 'import torch; print(max(1, torch.cuda.device_count()))')}
exec torchrun --nnodes "$NODES" --nproc-per-node "$processes" \
    --rdzv-backend c10d --rdzv-id "${RUN_ID:-lrisc}" --rdzv-endpoint "$MASTER:${PORT:-29500}" \
    -m lrisc.training "$@"
