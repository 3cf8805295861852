"""Everything that knows Ultralytics' internals, one seam per file; each falls back to the stock function."""

from __future__ import annotations

_applied = False


def apply() -> None:
    """Teach the Ultralytics of this process the registered modules. Calling it again does nothing.

    Raises:
        RuntimeError: If this Ultralytics lacks a seam. Stock models work all the same.
    """
    global _applied
    if _applied:
        return
    import ultralytics.nn.tasks

    try:
        from . import ddp, lookup, namespace, parser, safe_load

        for seam in (namespace, safe_load, parser, lookup, ddp):
            seam.apply()
    except (AttributeError, ImportError) as error:
        raise RuntimeError(
            f"yolo_attn does not support ultralytics {ultralytics.__version__}: {error}. "
            "Install ultralytics>=8.3.20; models without yolo_attn modules work as they are."
        ) from error
    _applied = True
