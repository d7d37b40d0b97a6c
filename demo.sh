#!/usr/bin/env bash
set -euo pipefail
HELP="Runs every step, from scans to tables, plots and predicted masks.

  bash demo.sh                  on invented scans (phantoms), with small networks:
                                ten to thirteen minutes on two CPU cores, 0.7 GB in demo/
  bash demo.sh PATH_TO_CT_ICH   on the real data set, with the settings of config.py:
                                hours on a GPU, days on a CPU; writes data/, runs/ and reports/
  bash demo.sh PATH_TO_CT_ICH laptop   the same with smaller networks, patches and five folds:
                                a night on two CPU cores

The first call installs the packages into .venv: a few minutes and 4 GB (10 GB with those for a GPU).
Rerun after an interruption, it skips what is finished and resumes what is not."
case "${1:-}" in
    -h | --help) echo "$HELP"; exit ;;
    -*) echo "error: $1: unknown flag; \`bash demo.sh --help\` says what there is" >&2; exit 2 ;;
esac
if [ $# -gt 2 ] || [ "${2:-laptop}" != laptop ]; then
    echo "error: $*: expected one folder at most, and perhaps the word laptop; \`bash demo.sh --help\` says more" >&2
    exit 2
elif [ $# -ge 1 ] && [ ! -d "$1" ]; then
    echo "error: $1: not a folder, expected that of CT-ICH as downloaded; \`bash demo.sh --help\` says more" >&2
    exit 2
fi
raw=""
[ $# -eq 0 ] || raw=$(cd "$1" && pwd)
laptop=${2:-}
cd "$(dirname "$0")"
source ./environment.sh
make_training_environment

demo() {
    local data=(--data demo/data) runs=(--runs demo/runs) reports=(--reports demo/reports)
    step make_demo_data.py --out demo --patients 30
    step split_raw_data.py --raw demo/ct-ich "${data[@]}" --image-size 96
    step create_data_set.py --raw demo/ct-ich "${data[@]}" --image-size 96 --folds 3 --test-share 0.2
    step main_kfold.py "${data[@]}" "${runs[@]}" --models unet=8 dunet=8 --epochs 40 --batch-size 4 \
        --learning-rate 3e-3 --validate-every 5 --at-once 2 --precision float32
    step trials.py "${data[@]}" "${runs[@]}" "${reports[@]}"
    step tests.py "${data[@]}" "${runs[@]}" "${reports[@]}"
    step rsna_preprocess.py --raw demo/rsna/classes "${data[@]}" --window 40/80 --valid-share 0.15 \
        --test-share 0.25
    step rsna_train.py "${data[@]}" "${runs[@]}" --network MobileNetV3Small --image-size 64 --weights none \
        --epochs 7 --batch-size 32 --learning-rates 2e-3 2e-3 1.5e-3 1e-3 6e-4 3e-4 1e-4 \
        --batch-norm-momentum 0.9 --balance 0.5 --rotation-deg 10 --mirror sides --at-once 2
    step rsna_compare.py "${data[@]}" "${runs[@]}" "${reports[@]}"
    step predict.py demo/unseen/scan.nii demo/unseen/dicom "${data[@]}" "${runs[@]}" --out demo/predicted --view
    step predict.py demo/unseen/scan.nii --run phantoms --out demo/predicted_by_shipped
}

real() {
    step split_raw_data.py --raw "$raw"
    step create_data_set.py --raw "$raw" ${laptop:+--folds 5}
    step main_kfold.py ${laptop:+--recipe laptop}
    step trials.py
    step tests.py
}

# Code, scans, names of all results, and their manifests: as long as none of it changes, there is nothing to do.
state() {
    { cksum ./*.py; find ich -name '*.py' -exec cksum {} + | LC_ALL=C sort
      [ -z "$raw" ] || ls -lR "$raw"
      find "$@" -type f ! -name finished 2> /dev/null | LC_ALL=C sort
      find "$@" -name run.json -exec cksum {} + 2> /dev/null | LC_ALL=C sort; } | cksum
}

if [ -z "$raw" ]; then
    steps=demo folders=(demo) closing=(demo/data demo/reports demo)
else
    steps=real folders=(reports data runs) closing=(data reports)
fi
finished="${folders[0]}/finished"
if [ "$(cat "$finished" 2> /dev/null)" = "$(state "${folders[@]}")" ]; then
    echo "nothing to do: all steps are finished"
else
    "$steps"
    state "${folders[@]}" > "$finished"
fi
python -m ich.predict.closing "${closing[@]}"
