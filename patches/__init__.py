"""Everything that knows Ultralytics' internals, one seam per file; each falls back to the stock function."""

from __future__ import annotations

import threading

_lock = threading.Lock()
_applied = False


def apply() -> None:
    """Teach the Ultralytics of this process the registered modules. Calling it again does nothing."""
    global _applied
    import ultralytics.nn.tasks  # noqa: F401  the autoloader may import yolo_attn in here, so before the lock

    with _lock:
        if _applied:
            return
        from . import ddp, lookup, namespace, parser, safe_load

        for seam in (namespace, safe_load, parser, lookup, ddp):
            seam.apply()
        _applied = True
