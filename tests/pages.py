"""README.md and the pages of docs/: their blocks, commands, headings and links."""

from __future__ import annotations

import re
from collections import Counter

from .conftest import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
COMMAND = r"(?:[A-Z_]+=\S+ )*(?:(?:yolo|yolo-attn) (?:\w+ \S*=|list|info |report )|python -|pip |pytest )"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def lines() -> list[str]:
    """The commands in blocks, each once."""
    return list(dict.fromkeys(x for page in PAGES for block in blocks(page, "bash") for x in block.strip().split("\n")))


def inline() -> list[str]:
    """The commands in text, each once; not those that leave something out."""
    prose = (re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE) for text in PAGES.values())
    paragraphs = (paragraph for text in prose for paragraph in text.split("\n\n"))
    codes = (" ".join(code.split()) for each in paragraphs for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", each))
    return list(dict.fromkeys(c for c in codes if re.match(COMMAND, c) and not re.search(r"\.\.\.|…", c)))


def headings(page: str) -> list[str]:
    """The headings of a page, without those in blocks."""
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(page):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(page: str) -> list[str]:
    """What a page links to and shows, apart from other sites."""
    found = re.findall(r"\]\(([^)\s]+)\)", PAGES[page])
    return [link for link in found if not re.match(r"https?:", link)]
