#!/bin/sh
# Join the pieces of a training slot: tools/remote/join_pieces.sh PIECES RUN_FOLDER
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m tools.remote.pieces join "$@"
