#!/usr/bin/env bash
# The comparison of the README on GPUs, at 640 pixels and over 100 epochs, with a control for every candidate: in a folder
# with bccd/ and yolov8n.pt, `gpu.sh device=0,1`. It goes on where it was when it is called again.
set -euo pipefail
models=yolov8n.yaml
for name in dattn dattn-plain se gct iaff msda crossformer; do models+=",yolov8n-$name.yaml"; done
exec yolo-attn compare models="$models" data=bccd/bccd.yaml pretrained=yolov8n.pt seeds=5 control=true test=dattn \
  name=bccd-640 epochs=100 imgsz=640 batch=16 nbs=16 "$@"
