#!/usr/bin/env bash
# Runs the project beside its rivals, one after the other on one core (two for the sweep of seeds), and prints one table
# of ratios taken in this run.
#
#   benches/peers.sh PEERS_DIR [VENVS_DIR]
#
# PEERS_DIR holds the rivals' scripts (bench_jax_handwritten.py and the others), VENVS_DIR their environments `jax` and
# `torch` (default: ~/.cache/runner-peers). A rival whose environment is not there is left out, and so is its row.
# Each number is the least of several; ROUNDS (default 3) says of how many, rivals and project taking turns.
set -euo pipefail
peers=$(realpath "${1:?the folder of the rivals\' scripts}")
venvs=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/runner-peers}
here=$(cd "$(dirname "$0")" && pwd)
cargo build --release --locked --quiet --manifest-path "$here/../Cargo.toml"
export PYTHONPATH=$peers
exec python3 "$here/peers/compare.py" "$peers" "$venvs" "$here/../target/release/runner" "${ROUNDS:-3}"
