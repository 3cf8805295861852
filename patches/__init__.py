"""Everything that knows Ultralytics' internals, one seam per file; each falls back to the stock function."""

from __future__ import annotations

from ._wrap import undo

_applied = False


def apply() -> None:
    """Teach the Ultralytics of this process the registered modules. Calling it again does what is left.

    Raises:
        RuntimeError: If this Ultralytics lacks a seam. Stock models work all the same.
    """
    global _applied
    import ultralytics.nn.tasks

    try:
        from . import ddp, export, lookup, namespace, optim, parser, safe_load, trainer, video, weights

        if not _applied:
            for seam in (namespace, safe_load, parser, lookup, weights, ddp):
                seam.apply()
            _applied = True
        for seam in (trainer, optim, export, video):
            seam.apply()
    except (AttributeError, ImportError) as error:
        undo()
        _applied = False
        raise RuntimeError(
            f"yolo_attn cannot extend ultralytics {ultralytics.__version__}: {error}. "
            "Models without yolo_attn modules work; for these, install a supported version."
        ) from error
