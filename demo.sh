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

step() { echo; echo "== python $*"; python "$@"; }

if [ $# -gt 0 ]; then
    places=(--raw "$1" --data data --runs runs --reports reports)
    slices=() split=() networks=()
else
    places=(--raw demo/ct-ich --data demo/data --runs demo/runs --reports demo/reports)
    slices=(--image-size 96) split=(--folds 3 --test-share 0.2)
    networks=(--models unet=8 dunet=8 --epochs 40 --batch-size 4 --learning-rate 3e-3 --validate-every 5)
    step make_demo_data.py --out demo --patients 30
fi
step split_raw_data.py "${places[@]}" "${slices[@]}"
step create_data_set.py "${places[@]}" "${slices[@]}" "${split[@]}"
if [ ${#networks[@]} -gt 0 ]; then
    # Small networks leave a core idle each: both at once. A failure of either ends the demo.
    trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
    step main_kfold.py "${places[@]}" "${networks[@]}" --model unet & first=$!
    step main_kfold.py "${places[@]}" "${networks[@]}" --model dunet
    wait "$first"
else
    step main_kfold.py "${places[@]}"
fi
step trials.py "${places[@]}"
step tests.py "${places[@]}"
reports=${places[7]}
open=("$reports/patient/report.html" "$reports/patient/comparison.csv" "$reports/patient/statistics.csv"
    "$reports/patient/test_dunet/patients.png" "$reports/patient/test_dunet/overlays" "$reports/patient/test_dunet/nifti"
    "${places[3]}/patient/preview.png")

if [ $# -eq 0 ]; then
    rsna=(--raw demo/rsna/classes --data demo/data --runs demo/runs --reports demo/reports)
    step rsna_preprocess.py "${rsna[@]}" --valid-share 0.2 --test-share 0.25
    step rsna_train.py "${rsna[@]}" --network EfficientNetB0 --image-size 64 --weights none \
        --epochs 3 --batch-size 16 --learning-rates 1e-3 3e-4
    step rsna_compare.py "${rsna[@]}"
    step predict.py demo/unseen/scan.nii demo/unseen/dicom "${places[@]}" --out demo/predicted --view
    open+=(demo/data/rsna/preview.png "$reports/rsna/comparison.csv" demo/predicted)
fi

echo
echo "Done. Open these:"
for file in "${open[@]}"; do
    if [ -e "$file" ]; then echo "  $file"; fi
done
