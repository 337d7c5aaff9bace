#!/bin/sh
# The main job, end to end: notebooks 01 to 04 in order, each taking the former's run folder.
#   make demo                 real Sentinel-2 of one square kilometre (the cube "romania")
#   make demo CUBE=landscape  a synthetic landscape, large enough to tell small differences
# Everything here can be typed by hand; `maestro-lab run NOTEBOOK --help-parameters` explains it.
set -eu
cube=${1:-romania}
lab="${BIN:-.venv/bin}/maestro-lab"
notebooks=$(dirname "$0")
runs="runs/demo-$cube-$(date +%Y%m%d-%H%M%S)"

case $cube in
  romania)
    data=romania
    training='-p epochs 120 -p evaluate_every 3'
    probing='-p target tree_cover -p random_encoders 3' ;;
  landscape)
    data="$runs/landscape.zarr"
    "$lab" save landscape "$data" -o samples 640 -o modalities '[s2]'
    training='-p epochs 120 -p evaluate_every 6 -p batch_size 24 -p base_lr 4e-4 -p dates {"s2":12}'
    probing='-p target species -p date_draws 2' ;;
  *)
    echo "make demo CUBE=$cube: expected romania or landscape; for other cubes: $lab run" >&2
    exit 2 ;;
esac

"$lab" run "$notebooks/01_band_groups.ipynb" --run "$runs/01_band_groups" \
  -p cube "$data"
# shellcheck disable=SC2086  these are several words on purpose
"$lab" run "$notebooks/02_pretrain.ipynb" --run "$runs/02_pretrain" \
  -p cube "$data" -p band_groups "$runs/01_band_groups" $training
"$lab" run "$notebooks/03_reconstruct.ipynb" --run "$runs/03_reconstruct" \
  -p pretrained "$runs/02_pretrain"
# shellcheck disable=SC2086
"$lab" run "$notebooks/04_probe.ipynb" --run "$runs/04_probe" \
  -p pretrained "$runs/02_pretrain" $probing

echo
"$lab" collect "$runs"
echo
"$lab" report "$runs"
