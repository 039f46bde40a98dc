#!/bin/bash
# Trains on all GPUs of this machine: scripts/train_node.sh CONFIG.yaml [key=value ...]
# Run it again after an interruption and it goes on. batch_size is that of all GPUs together.
set -euo pipefail
processes=${PROCESSES:-$(python -c 'import torch; print(max(1, torch.cuda.device_count()))')}
exec torchrun --standalone --nproc-per-node "$processes" -m lrisc.training "$@"
