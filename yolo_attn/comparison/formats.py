"""Numbers as the summary of a comparison writes them, and messages in one line."""

from __future__ import annotations

NONE = ""


def p_value(value: float, equals: str = "") -> str:
    return "< 0.001" if value < 0.0005 else f"{equals}{value:.3f}"


def count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def spread(mean: float | None, sd: float | None) -> str:
    return percent(mean) + (NONE if sd is None else f" ± {100 * sd:.2f}")


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A difference in points, and its interval."""
    point = NONE if value is None else f"{100 * value:+.2f}"
    return point if low is None or high is None else f"{point} [{100 * low:+.2f}, {100 * high:+.2f}]".strip()


def number(form: str, *values: float | None) -> str:
    """Numbers in a format, or nothing where one isn't known."""
    return NONE if None in values else form.format(*values)


def one_line(error: BaseException | str) -> str:
    return " ".join(str(error).split())
