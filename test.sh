#!/usr/bin/env bash
# Lints and tests.  bash test.sh: the fast suite;  bash test.sh --all: with the slow tests.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
make_environment requirements.txt requirements-dev.txt
ruff check .
ruff format --check --quiet .
lint-imports --no-cache > /dev/null || { lint-imports --no-cache; exit 1; }  # prints only what is broken
mypy --no-error-summary
parallel=(-n 2 --dist loadfile)  # a file's tests share what is trained once
if [ "${1:-}" = "--all" ]; then
    python -m pytest "${parallel[@]}"
else
    python -m pytest "${parallel[@]}" -m "not slow" "$@"
fi
