#!/usr/bin/env bash
set -euo pipefail
HELP="Trains the shipped network on phantom heads alone, and writes it to weights/ with its card.

  bash train_weights.sh [FOLDER [HEADS [EPOCHS]]]   FOLDER: for scans, slices and the training (phantom_weights)
                                                    HEADS: 800, EPOCHS: 30

With the defaults about two hours on two CPU cores with bfloat16, 9 GB in FOLDER, no patient data. weights/ is replaced
at the end, when the new network is exported and measured. Rerun after an interruption: it skips what is finished and
resumes what is not."
case "${1:-}" in
    -h | --help) echo "$HELP"; exit ;;
    -*) echo "error: $1: unknown flag; \`bash train_weights.sh --help\` says what there is" >&2; exit 2 ;;
esac
[ $# -le 3 ] || { echo "error: $*: expected three arguments at most; see bash train_weights.sh --help" >&2; exit 2; }
heads=${2:-800} epochs=${3:-30} least=20 # half of the heads have blood, and each of ten folds needs one of these
[[ $heads =~ ^[0-9]+$ && $heads -ge $least ]] || { echo "error: HEADS: $heads; expected $least or more" >&2; exit 2; }
mkdir -p "${1:-phantom_weights}"
folder=$(cd "${1:-phantom_weights}" && pwd)
cd "$(dirname "$0")"
source ./environment.sh
make_training_environment

data=(--data "$folder/data")
step make_demo_data.py --style calibrated --scans-only --patients "$heads" --size 256 --seed 16 --out "$folder"
step split_raw_data.py --raw "$folder/ct-ich" "${data[@]}" --image-size 256
step create_data_set.py --raw "$folder/ct-ich" "${data[@]}" --folds 10 --test-share 0
step main_kfold.py "${data[@]}" --runs "$folder/runs" --recipe phantoms --model dunet --run phantoms --fold 1 \
    --epochs "$epochs"
made="$folder/weights"
step -m ich.predict.shipped "$folder/runs" "$made"
step predict.py --runs "$made" --run phantoms --precision int8 --export "$made/patient/phantoms/exported"
step benchmarks/weights.py --runs "$made" --work "$folder/check" --results "$made"
step -m ich.predict.shipped_card "$made"
rm -rf weights.new && cp -R "$made" weights.new && rm -rf weights && mv weights.new weights
echo "-> $PWD/weights"
