#!/bin/sh
# One slot of training on whatever device is here, from a checkout, on a bare image with torch,
# numpy, pillow, pyyaml, safetensors and accelerate. See docs/manual/training.md. Example:
#
#   tools/remote/train_slice.sh configs/compact/all.yaml --data shards/*.tar --minutes 55 \
#       --pieces out --limit-mb 90 [--start pieces-of-the-last-slot] [key=value ...]
#
# Then, anywhere: tools/remote/join_pieces.sh out run
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m tools.remote.slices "$@"
