#!/usr/bin/env bash
# Runs every step, from scans to tables, plots and predicted masks.
#   bash demo.sh                  on phantom scans, with small networks: about ten minutes on two CPU cores
#   bash demo.sh PATH_TO_CT_ICH   on the real data set, with the settings of config.py
# Run again, it skips what is finished and goes on with what is not.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
if command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null 2>&1; then
    make_environment requirements-gpu.txt
else
    make_environment requirements.txt
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

echo
echo "Done. Open these:"
reports="${places[7]}/patient"
for file in report.html comparison.csv statistics.csv folds_fig.png dice_fig_vs.png test_dunet/patients.png \
    test_dunet/overlays test_dunet/nifti; do
    [ -e "$reports/$file" ] && echo "  $reports/$file"
done
echo "  ${places[3]}/patient/preview.png"
