#!/bin/sh
# The main job, end to end: the four notebooks in order, each taking the former's run folder.
#   make demo                 real Sentinel-2 of one square kilometre (the cube "romania")
#   make demo CUBE=landscape  a synthetic landscape, large enough to tell small differences
# Everything here can be typed by hand; nothing is set that a parameter cell does not show.
set -eu
cube=${1:-romania}
lab="${BIN:-.venv/bin}/maestro-lab"
notebooks=$(dirname "$0")
runs="runs/demo-$cube-$(date +%Y%m%d-%H%M%S)"

case $cube in
  romania) options='{}' dates='{}' epochs=120 target=tree_cover ;;
  landscape) options='{samples: 640, modalities: [s2]}' dates='{s2: 12}' epochs=180 target=land_cover ;;
  *) echo "make demo CUBE=$cube: expected romania or landscape; for other cubes use $lab run" >&2; exit 2 ;;
esac

"$lab" run "$notebooks/01_band_groups.ipynb" --run "$runs/01_band_groups" \
  -p cube "$cube" -p options "$options"
"$lab" run "$notebooks/02_pretrain.ipynb" --run "$runs/02_pretrain" \
  -p cube "$cube" -p options "$options" -p dates "$dates" \
  -p band_groups "$runs/01_band_groups" -p epochs "$epochs"
"$lab" run "$notebooks/03_reconstruct.ipynb" --run "$runs/03_reconstruct" \
  -p pretrained "$runs/02_pretrain"
"$lab" run "$notebooks/04_probe.ipynb" --run "$runs/04_probe" \
  -p pretrained "$runs/02_pretrain" -p target "$target"

echo
"$lab" collect "$runs"
echo
"$lab" report "$runs"
