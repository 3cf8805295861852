"""Import yolo_attn as soon as Ultralytics' model builder has been imported, and not before. Standard library only.

`yolo_attn.pth` and `yolo_attn.start` call `install` when Python starts. A process that never imports Ultralytics pays
for one entry in `sys.meta_path`. YOLO_ATTN_AUTOLOAD=0 turns it off.
"""

import os
import sys

_waiting = {}  # name of a module -> what to call, in turn, once it has been imported


class _Finder:
    """Finds awaited modules as everybody else would, and has something called behind them."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _waiting:
            return None
        waiting = _waiting.pop(name)
        if not _waiting:
            sys.meta_path.remove(_Finder)
        for finder in [f for f in sys.meta_path if f is not _Finder and hasattr(f, "find_spec")]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    _run_after(spec.loader, waiting)
                return spec
        return None


def _run_after(loader, waiting):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        try:
            for then in waiting:
                then()
        except Exception as error:  # stock models must work, whatever is wrong with the plugin
            _waiting.clear()
            sys.stderr.write(f"WARNING yolo_attn is installed but inactive: {type(error).__name__}: {error}\n")

    loader.exec_module = exec_module  # of this one loader, which Python made for this module


def watch(name, then):
    """Call `then` once the module `name` has been imported, unless that has begun already.

    If it fails, that is told on stderr, the import goes on, and nothing else that was awaited is called.
    """
    if name in sys.modules:
        return
    waiting = _waiting.setdefault(name, [])
    if then not in waiting:
        waiting.append(then)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def install():
    """Watch for what the plugin extends. A virtual environment calls this twice."""
    watch("ultralytics.nn.tasks", _load)
    watch("ultralytics.engine.trainer", _load)
    watch("ultralytics.engine.predictor", _load)


def _load():
    if os.environ.get("YOLO_ATTN_AUTOLOAD", "1").lower() in ("0", "false", "no", "off"):
        return
    from yolo_attn.patches import apply

    apply()
