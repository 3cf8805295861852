"""`yolo-attn`: edits of models, what the plugin has to offer, and stock Ultralytics commands with the plugin loaded.

Exit statuses: 0 for what is done and for help, 1 for a mistake and for what failed, 130 for Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from ruamel.yaml.error import YAMLError
from ultralytics.cfg import merge_equals_args

from ..registry import suggest
from . import output, pages, stock
from .arguments import parsed
from .verbs import VERBS

HELP_WORDS = ("-h", "--help", "help")
MISTAKES = (ValueError, TypeError, OSError, SyntaxError, ImportError, YAMLError)  # their messages say what to do


def main() -> None:
    """Run one command line."""
    try:
        given = merge_equals_args(sys.argv[1:])
    except SyntaxError:  # which is told when the arguments are read
        given = sys.argv[1:]
    asks_help = any(word in HELP_WORDS for word in given)
    verbosity = [word.partition("=")[2].lower() for word in given if word.lower().startswith("verbose=")]
    words = [word for word in given if word not in HELP_WORDS and not word.lower().startswith("verbose=")]
    verb = "version" if words[:1] in (["-v"], ["--version"]) else words[0] if words else ""
    try:
        if not verb or ("=" in verb and asks_help):
            output.write(pages.overview())
        elif verb not in VERBS:
            _hand_over(verb, asks_help)
        elif asks_help:
            output.write(pages.page(verb))
        else:
            _run(verb, words[1:], verbosity)
    except KeyboardInterrupt:
        stopped = VERBS[verb].stopped if verb in VERBS else ""
        print(f"\nyolo-attn {verb}: interrupted. {stopped}".rstrip(), file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if verb not in VERBS and not isinstance(error, MISTAKES):
            raise  # a training may have died after hours: all that `yolo` tells
        if "true" in verbosity:
            traceback.print_exc()
        sys.exit(f"yolo-attn {verb}: {_told(error, verb)}")


def _run(verb: str, arguments: Sequence[str], verbosity: Sequence[str]) -> None:
    """Run a command of ours."""
    if wrong := [each for each in verbosity if each not in ("true", "false")]:
        raise ValueError(f"verbose must be true or false, got {wrong[0]!r}. Write verbose=true.")
    entry, results = VERBS[verb], []  # type: ignore[var-annotated]
    function = entry.resolve()
    by_position, by_name = parsed(function, arguments, bool(entry.words), entry.examples[0])
    try:
        with output.to_stderr(results):
            result = function(*by_position, **by_name)
    finally:
        if results:
            output.write("\n".join(results))
    text, status = entry.tell(result, by_name)
    if text:
        output.write(text)
    if status:
        sys.exit(status)


def _hand_over(verb: str, asks_help: bool) -> None:
    """Run a command of Ultralytics."""
    if not asks_help:
        try:
            return stock.run()
        except SyntaxError as error:
            if not stock.means(error, verb):
                raise
    elif verb in stock.words():
        return stock.show_help(verb)
    _no_verb(verb)


def _no_verb(verb: str) -> NoReturn:
    near = suggest(verb.lstrip("-"), [*VERBS, *sorted(stock.words())])
    sys.exit(f"yolo-attn: there is no verb {verb!r}.{near}\n\n{pages.examples()}")


def _told(error: Exception, verb: str) -> str:
    """An error in one line."""
    if isinstance(error, RecursionError):
        return "a value must have fewer brackets in one another. See to what is not as meant."
    text = " ".join(stock.plain(str(error)).split()).removeprefix(f"{verb}: ")
    if isinstance(error, MISTAKES):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}. With verbose=true the traceback is shown."
