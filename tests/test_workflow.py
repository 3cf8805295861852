"""The workflow that tests the package on other systems, as far as it can be read."""

from __future__ import annotations

import re

import yaml

from .conftest import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(job: str) -> list[str]:
    """What the steps of a job run."""
    return [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def test_systems() -> None:
    """A change would break on Windows, macOS or the oldest Python without anybody noticing."""
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "windows", "macos"}
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert matrix["python"][0] == oldest and len(matrix["python"]) > 1


def test_commands() -> None:
    """The workflow would run something else than the README's test command, or never try a new Ultralytics."""
    (line,) = [command for command in commands("test") if "grep" in command]
    pattern = re.search(r"grep -m1 -E '(.+)' README.md", line)[1]
    assert re.search(pattern, README, re.MULTILINE)[0] == 'pip install -e ".[test]" && pytest'
    assert "pytest -m slow tests/test_versions.py" in commands("versions")
    assert "schedule" in WORKFLOW[True] and "schedule" in WORKFLOW["jobs"]["versions"]["if"]  # `on` is true in YAML 1.1
