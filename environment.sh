# Sourced by demo.sh, train_weights.sh and test.sh: makes .venv with what the requirement files given as arguments name.

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: Python 3.11, 3.12 or 3.13 with its venv module is needed (Debian: apt install python3-venv)" >&2
    return 2
}

make_environment() {
    local python file arguments=() stamp
    python=$(find_python) || exit 2
    for file in "$@"; do arguments+=(-r "$file"); done
    stamp="$* $(cat requirements*.txt | cksum)"
    if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
        echo "installing into .venv (a few minutes the first time) ..."
        "$python" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
        echo "$stamp" > .venv/installed
    fi
    export PATH="$PWD/.venv/bin:$PATH"
}

# For scripts that call the numbered ones: with the packages for a GPU where there is one.
make_training_environment() {
    if command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null 2>&1; then
        make_environment requirements-gpu.txt requirements-predict.txt
    else
        make_environment requirements.txt requirements-predict.txt
    fi
    export ICH_DEMO=1  # `step` shows each command, and the next one follows
}

step() { echo; echo "== python $*"; python "$@"; }
