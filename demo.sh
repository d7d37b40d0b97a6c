#!/usr/bin/env bash
# Runs every step, from scans to tables, plots and predicted masks.
#   bash demo.sh                  on phantom scans, with small networks: about ten minutes on two CPU cores
#   bash demo.sh PATH_TO_CT_ICH   on the real data set, with the settings of config.py
# Run again, it skips what is finished and goes on with what is not.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
if command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null 2>&1; then
    make_environment requirements-gpu.txt requirements-predict.txt
else
    make_environment requirements.txt requirements-predict.txt
fi

export ICH_DEMO=1  # each command is shown here, and the next one follows
step() { echo; echo "== python $*"; python "$@"; }

if [ $# -gt 0 ]; then
    raw=(--raw "$1") data=(--data data) runs=(--runs runs) reports=(--reports reports)
    slices=() split=() networks=()
else
    raw=(--raw demo/ct-ich) data=(--data demo/data) runs=(--runs demo/runs) reports=(--reports demo/reports)
    slices=(--image-size 96) split=(--folds 3 --test-share 0.2)
    networks=(--models unet=8 dunet=8 --epochs 40 --batch-size 4 --learning-rate 3e-3 --validate-every 5)
    step make_demo_data.py --out demo --patients 30
fi
step split_raw_data.py "${raw[@]}" "${data[@]}" "${slices[@]}"
step create_data_set.py "${raw[@]}" "${data[@]}" "${slices[@]}" "${split[@]}"
if [ ${#networks[@]} -gt 0 ]; then
    # Small networks leave a core idle each: both at once. A failure of either ends the demo.
    trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
    step main_kfold.py "${data[@]}" "${runs[@]}" "${networks[@]}" --model unet & first=$!
    step main_kfold.py "${data[@]}" "${runs[@]}" "${networks[@]}" --model dunet
    wait "$first"
else
    step main_kfold.py "${data[@]}" "${runs[@]}"
fi
step trials.py "${data[@]}" "${runs[@]}" "${reports[@]}"
step tests.py "${data[@]}" "${runs[@]}" "${reports[@]}"
open=("${reports[1]}"/patient/{report.html,comparison.csv,statistics.csv}
    "${reports[1]}"/patient/test_dunet/{patients.png,overlays,nifti} "${data[1]}/patient/preview.png")

if [ $# -eq 0 ]; then
    step rsna_preprocess.py --raw demo/rsna/classes "${data[@]}" --valid-share 0.2 --test-share 0.25
    step rsna_train.py "${data[@]}" "${runs[@]}" --network EfficientNetB0 --image-size 64 --weights none \
        --epochs 3 --batch-size 16 --learning-rates 1e-3 3e-4
    step rsna_compare.py "${runs[@]}" "${reports[@]}"
    step predict.py demo/unseen/scan.nii demo/unseen/dicom "${data[@]}" "${runs[@]}" --out demo/predicted --view
    open+=(demo/data/rsna/preview.png "${reports[1]}/rsna/comparison.csv" demo/predicted)
fi

echo
echo "Done. Open these:"
for file in "${open[@]}"; do
    if [ -e "$file" ]; then echo "  $file"; fi
done
