"""Import yolo_attn as soon as Ultralytics' model builder has been imported, and not before. Standard library only.

`yolo_attn.pth` and `yolo_attn.start` call `install` when Python starts. A process that never imports Ultralytics pays
for one entry in `sys.meta_path`. YOLO_ATTN_AUTOLOAD=0 turns it off.
"""

import os
import sys

TRIGGER = "ultralytics.nn.tasks"


class _Finder:
    """Finds the trigger as everybody else would, and has the plugin imported behind it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != TRIGGER:
            return None
        uninstall()
        if os.environ.get("YOLO_ATTN_AUTOLOAD", "1").lower() in ("0", "false", "no", "off"):
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    _run_after(spec.loader)
                return spec
        return None


def _run_after(loader):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        try:
            import yolo_attn  # noqa: F401
        except Exception as error:  # stock models must work, whatever is wrong with the plugin
            sys.stderr.write(f"WARNING yolo_attn is installed but inactive: {type(error).__name__}: {error}\n")

    loader.exec_module = exec_module  # of this one loader, which Python made for the trigger


def install():
    """Watch for the trigger, unless it is watched already or imported: a virtual environment calls this twice."""
    if _Finder not in sys.meta_path and TRIGGER not in sys.modules:
        sys.meta_path.insert(0, _Finder)


def uninstall():
    """Stop watching."""
    if _Finder in sys.meta_path:
        sys.meta_path.remove(_Finder)
