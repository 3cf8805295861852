"""The command line: help, typos, errors, and what goes to stdout."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ultralytics import cfg
from ultralytics.utils import LOGGER

from yolo_attn import cli, edit, log
from yolo_attn.cli import pages, stock
from yolo_attn.cli.arguments import parsed
from yolo_attn.cli.verbs import VERBS, Verb
from yolo_attn.comparison import progress

from .conftest import script

if TYPE_CHECKING:
    from ultralytics import YOLO

Ends = Callable[..., tuple[int, str, str]]


EXAMPLES = [(verb, example) for verb in VERBS for example in VERBS[verb].examples]
NAMED = [
    (verb, name)
    for verb in VERBS
    for name, p in inspect.signature(VERBS[verb].resolve()).parameters.items()
    if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Ends:
    """Run a command line in this process: its exit status, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        command = ["yolo-attn", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(cfg, "ARGV", command)  # which Ultralytics reads once
        status: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code
        out, err = capsys.readouterr()
        return (1, out, f"{err}{status}\n") if isinstance(status, str) else (status, out, err)

    return call


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What Ultralytics logs."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    yield said
    LOGGER.removeHandler(handler)


@pytest.fixture
def inserting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Let `insert` do something else."""

    def put(does: Callable[[], Any]) -> None:
        @functools.wraps(edit.insert)
        def insert(*_: Any, **__: Any) -> Any:
            return does()

        monkeypatch.setattr(edit, "insert", insert)

    return put


INSERT = ("insert", *shlex.split(VERBS["insert"].examples[0]))


@pytest.mark.parametrize("arguments", ["", "-h", "--help", "help", "help -h", "verbose=true", "base=x -h"])
def test_overview(arguments: str, ends: Ends) -> None:
    """Who doesn't know the verbs would not see an example of each, or a script take asking for help for a failure."""
    status, out, err = ends(*arguments.split())
    assert status == 0 and err == ""
    for verb, entry in VERBS.items():
        assert all(f"  yolo-attn {verb} {example}".rstrip() in out.splitlines() for example in entry.examples)
        assert " ".join(entry.says.split()) in " ".join(out.split())
    assert "yolo-attn train model=" in out


@pytest.mark.parametrize("verb", VERBS)
def test_page(verb: str, ends: Ends) -> None:
    """Help on a verb would be out of reach where one happens to be in a command line, or leave out an argument."""
    status, page, err = ends(verb, "-h")
    assert status == 0 and err == "" and page.startswith(f"yolo-attn {verb}")
    for line in ("-h {}", "help {}", "{} --help", "{} help", "{} base=x -h", "{} base = x -h", "verbose=true {} -h"):
        assert ends(*line.format(verb).split()) == (0, page, "")
    documented = page.partition("Args:")[2]
    for name in inspect.signature(VERBS[verb].resolve()).parameters:
        assert re.search(rf"^[\w, *]*\b{name}\b.*:", documented, re.MULTILINE), name
    assert all(f"yolo-attn {verb} {example}".rstrip() in page for example in VERBS[verb].examples)


@pytest.mark.parametrize(("verb", "example"), EXAMPLES)
def test_examples(verb: str, example: str) -> None:
    """An example of the help would not be understood."""
    function = VERBS[verb].resolve()
    by_position, by_name = parsed(function, shlex.split(example), bool(VERBS[verb].words))
    bound = inspect.signature(function).bind(*by_position, **by_name)
    assert len(shlex.split(example)) == len([*by_position, *by_name]) and (bound.arguments or not example)


@pytest.mark.parametrize("verb", [*VERBS, "train", "predict", "settings"])
def test_typo_of_a_verb(verb: str, ends: Ends, logged: list[str]) -> None:
    """A typo would end in Ultralytics' help, or in a list without the verb that is meant."""
    typo = verb[:-3] + verb[-2] + verb[-3] + verb[-1]
    for arguments in ([typo], [typo, "base=yolov8n.yaml"], [typo, "-h"]):
        status, out, err = ends(*arguments)
        first, *others = err.splitlines()
        assert status == 1 and out == "" and logged == []
        assert first.startswith(f"yolo-attn: there is no verb {typo!r}. Did you mean ") and verb in first
        assert all(any(line.startswith(f"  yolo-attn {each}") for line in others) for each in VERBS)


def test_no_verb(ends: Ends, logged: list[str]) -> None:
    """Arguments of ours without a verb would be taken for a prediction's."""
    status, out, err = ends("base=yolov8n.yaml", "module=SE")
    assert status == 1 and out == "" and logged == [] and "there is no verb 'base=yolov8n.yaml'." in err


@pytest.mark.parametrize(("verb", "name"), NAMED)
def test_typo_of_an_argument(verb: str, name: str, ends: Ends) -> None:
    """A misspelt argument would be ignored, or the right one not be told."""
    status, out, err = ends(verb, f"{name}z=1")
    assert status == 1 and out == ""
    (line,) = err.splitlines()
    near = re.match(rf"yolo-attn {verb}: there is no argument '{name}z=1'\. Did you mean (.*?)\?", line)
    assert near and name in near[1].split(" or ")
    assert f"{name} has no value" in ends(verb, name)[2] or VERBS[verb].words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("list SE", "yolo-attn list: SE is one too many: it takes no name=value. Leave it out."),
        ("info", "yolo-attn info: a module must be named, such as DAttention. `yolo-attn list` names them all."),
        ("info Dattentoin", "there is no module named 'Dattentoin'. Did you mean DAttention"),
        ("insert base=yolov8n.yaml", "module, at must be given, such as base=yolov8n.yaml module=DAttention at=sppf"),
        ("compare models=a,b data=c epoch=3", "there is no argument 'epoch=3'. Did you mean epochs"),
        ("viz best.pt image.jpg", "'best.pt' has no name. Write model=best.pt, say: it takes model, source"),
        ("insert base = help", "module, at must be given, such as base=yolov8n.yaml module=DAttention at=sppf"),
        ("insert base=yolov8n.yaml args=[1", "yolo-attn insert: "),
        ("insert base=yolov8n.yaml verbose=maybe", "verbose must be true or false, got 'maybe'. Write verbose=true."),
        ("detect trian model=x.yaml", "yolo-attn detect: 'trian' is not a valid YOLO argument. Similar"),
        (
            "train epoch=3",
            "yolo-attn train: 'epoch' is not a valid YOLO argument. Similar arguments are i.e. ['epochs=",
        ),
        ("train model=none/such.yaml", "yolo-attn train: "),
    ],
)
def test_mistakes(arguments: str, said: str, ends: Ends, logged: list[str]) -> None:
    """A mistake would not be told in one line, without a traceback or Ultralytics' help."""
    status, out, err = ends(*arguments.split())
    assert status == 1 and out == "" and len(err.splitlines()) == 1 and said in err, err
    assert not any(cfg.CLI_HELP_MSG in each for each in logged)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("base: two\n  lines"), "yolo-attn insert: base: two lines"),
        (ValueError(), "yolo-attn insert: ValueError"),
        (ZeroDivisionError("by zero"), "yolo-attn insert: ZeroDivisionError: by zero. With verbose=true the "),
        (RecursionError("deep"), "yolo-attn insert: a value must have fewer brackets"),
    ],
)
def test_tracebacks(error: Exception, said: str, ends: Ends, inserting: Callable) -> None:
    """An error would be told with pages of code, or a bug could not be looked into."""

    def fail() -> None:
        raise error

    inserting(fail)
    status, out, err = ends(*INSERT, "verbose=false")
    assert ends(*INSERT) == (status, out, err) and status == 1 and out == ""
    assert len(err.splitlines()) == 1 and err.startswith(said)
    for word in ("verbose=true", "verbose=True"):
        for arguments in (
            [*INSERT, word],
            [*INSERT, *["verbose", "=", "true"]],
            [INSERT[0], word, *INSERT[1:]],
            [word, *INSERT],
        ):
            status, out, more = ends(*arguments)
            assert status == 1 and out == "" and more.endswith(err) and "in fail\n    raise error" in more


def test_a_bug_in_a_training_is_told_in_full(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that dies after hours would have to be run again to see where."""

    def fail() -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(cfg, "entrypoint", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        ends("train")


@pytest.mark.parametrize("verb", ["insert", "compare", "train"])
def test_interrupt(verb: str, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C would look like a bug, or like success to a script."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Verb, "resolve", stop)
    monkeypatch.setattr(cfg, "entrypoint", stop)
    status, out, err = ends(verb)
    again = " The same command goes on where it was." if verb == "compare" else ""
    assert (status, out, err) == (130, "", f"\nyolo-attn {verb}: interrupted.{again}\n")


def test_stdout_has_results_only(ends: Ends, inserting: Callable) -> None:
    """A script that reads the output would read what was logged on the way too."""

    def chat() -> dict[str, Any]:
        print("printed")
        LOGGER.info("logged")
        log.result("a table")
        return {}

    inserting(chat)
    handler = next(h for h in LOGGER.handlers if isinstance(h, logging.StreamHandler))
    before = handler.setStream(sys.stdout)
    try:
        assert ends(*INSERT) == (0, "a table\nwrote my.yaml\n", "printed\nlogged\n")
        LOGGER.info("as before")
        assert ends("version")[1].splitlines()[0] == "as before"
    finally:
        handler.setStream(before)


def test_results_before_a_failure(ends: Ends, inserting: Callable) -> None:
    """Figures of hours would be lost where the disk is full in the end."""

    def fail() -> None:
        log.result("a table")
        raise OSError("no space left")

    inserting(fail)
    assert ends(*INSERT) == (1, "a table\n", "yolo-attn insert: no space left\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes there end in another way")
def test_closed_pipe() -> None:
    """`yolo-attn list | head -1` would end in a traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([script("yolo-attn"), "version"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_commands_of_ultralytics(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of `yolo` would not reach Ultralytics as it was written."""
    reached: list[list[str]] = []
    monkeypatch.setattr(cfg, "entrypoint", lambda: reached.append(sys.argv[1:]))
    assert {"train", "detect", "settings", "checks"} <= stock.words()
    commands = [[word] for word in stock.words() - {"help", "version"}]
    commands += [["detect", "train", "model=a.pt", "verbose=false"], ["model=a.pt"], ["mode=train", "data", "=", "b"]]
    for command in commands:
        assert ends(*command) == (0, "", "")
    assert reached == commands


def test_help_of_ultralytics(ends: Ends, logged: list[str]) -> None:
    """Help on a command of `yolo` would not be shown, or the command be run."""
    for arguments in ("train -h", "train -help", "help train", "--help detect train", "train model=none.pt help"):
        assert ends(*arguments.split())[0] == 0
        assert logged == [cfg.CLI_HELP_MSG]
        logged.clear()


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["a", "b", "text=007"], (["a", "b"], {"text": "007"})),
        (["text=1,2", "several=1,2", "names=1, 2"], ([], {"text": "1,2", "several": [1, 2], "names": ["1", "2"]})),
        (["names=[SE, [A, {b: c}]]", "number=1e-3"], ([], {"names": ["SE", ["A", {"b": "c"}]], "number": 1e-3})),
        (["text=*.jpg", "names=true", "imgsz=64"], ([], {"text": "*.jpg", "names": True, "imgsz": 64})),
        (["model=2", "imgsz=[64, 32]"], ([], {"model": "2", "imgsz": [64, 32]})),
        (["text", "=", "null"], ([], {"text": None})),
    ],
)
def test_values(words: list[str], given: tuple[list[str], dict[str, Any]]) -> None:
    """A value would be read as something else than the function takes."""

    def function(
        *folders: str,
        text: str | Path | None = None,
        several: str | int | Sequence[int] = 0,
        names: str | Sequence[Any] = "",
        number: float = 0.0,
        model: str | YOLO = "",
        **predict: Any,
    ) -> None: ...

    assert parsed(function, words, words=True) == given


def test_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a name= would not be taken, or one that has a = in its own name."""
    monkeypatch.chdir(tmp_path)
    Path("a=b.pt").touch()

    def migrate(old: str, out: str | None = None) -> None: ...

    assert parsed(migrate, ["old.pt", "out=new.pt"], words=True) == ([], {"old": "old.pt", "out": "new.pt"})
    assert parsed(migrate, ["a=b.pt"], words=True) == ([], {"old": "a=b.pt"})
    with pytest.raises(ValueError, match=r"'more\.pt' has no name\. Write out=more\.pt"):
        parsed(migrate, ["old.pt", "more.pt"], words=True)
    with pytest.raises(ValueError, match="old is given twice"):
        parsed(migrate, ["old.pt", "old=other.pt"], words=True)


def test_usage() -> None:
    """The help would not tell what must be given from what may be left out."""
    usage = " ".join(pages.page("insert").split("\n\n")[0].split())
    assert usage == ("yolo-attn insert base=... module=... at=... [args=...] [mode=residual] [out=...] [weights=...]")
    assert pages.page("report").startswith("yolo-attn report FOLDER ... [out=...]\n")


def test_progress_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison would stand still for hours, or count epochs of runs that were interrupted before."""
    shown: list[int] = []

    class Bar:
        def __init__(self, total: int, initial: int, **_: Any) -> None:
            assert total == 40
            self.n = initial

        def update(self, n: int) -> None:
            self.n += n
            shown.append(self.n)

        def set_description(self, _: str) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(progress, "TQDM", Bar)
    parts = [tmp_path / "a.part", tmp_path / "b.part", tmp_path / "c.part"]
    for part in parts:
        (part / "train").mkdir(parents=True)
        (part / "train" / "results.csv").write_text("epoch\n1\n2\n3\n4\n")
    os.utime(parts[1] / "train" / "results.csv", (0, 0))  # of an earlier comparison
    os.utime(parts[0] / "train" / "results.csv", (time.time() + 9,) * 2)
    with progress.progress(parts, epochs=10, done=1) as ended:
        ended(parts[2], "c")
        assert shown[-1] == 10 + 4 + 0 + 10
        ended(parts[0], "a")
        ended(parts[1], "b")
    assert shown[-1] == 40


def test_what_is_done_is_told_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Seconds of work would pass in silence, leave a bar behind, or fill the file that stderr goes to."""
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        filters = list(LOGGER.filters)
        with log.doing("drawing"):
            pass
        assert list(log.progress(["a", "b"], "modules")) == ["a", "b"]
        out, err = capsys.readouterr()
        assert out == "" and LOGGER.filters == filters
        assert (
            ("drawing: " in err and "modules: " in err and re.search(r"\r(\033\[K| *\r)$", err))
            if is_terminal
            else err == ""
        )
