#!/bin/sh
# Join the pieces of a training slot: scripts/join_pieces.sh PIECES RUN_FOLDER
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m lrisc.training.pieces join "$@"
