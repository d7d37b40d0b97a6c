#!/usr/bin/env bash
# Lints and tests.  bash test.sh: the fast suite;  bash test.sh --all: with the slow tests.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
make_environment requirements.txt requirements-dev.txt
ruff check .
if [ "${1:-}" = "--all" ]; then
    python -m pytest
else
    python -m pytest -m "not slow" "$@"
fi
