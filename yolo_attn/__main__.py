"""`python -m yolo_attn`: the same as `yolo-attn`."""

from .cli import main

main()
