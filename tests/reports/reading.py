"""A strict reader of pages: what a browser would find, and whether it is well formed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br"}


@dataclass
class Page(HTMLParser):
    """Tags, attributes and text of a page; `problems` is empty for a good one."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    style: str = ""
    texts: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        opened = self._open.pop() if self._open else "nothing"
        if opened != tag:
            self.problems.append(f"</{tag}> closes {opened}")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All words, white space made one, elements apart."""
        words = " ".join(" ".join(self.texts).split())
        return re.sub(r" ([.,;:)])", r"\1", words)

    def values(self, attribute: str) -> list[str]:
        return [found[attribute] for _, found in self.tags if attribute in found]


def read(markup: str) -> Page:
    page = Page()
    page.feed(markup)
    page.close()
    if page._open:
        page.problems.append(f"left open: {page._open}")
    ids = page.values("id")
    page.problems += [f"id {name} twice" for name in {name for name in ids if ids.count(name) > 1}]
    page.problems += [f"{link} leads nowhere" for link in page.values("href") if link.lstrip("#") not in ids]
    return page


def assert_self_contained(page: Page) -> None:
    """Nothing is fetched and nothing runs, whatever the texts are."""
    assert {name for name, _ in page.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "base", "form"}
    )
    attributes = {key for _, found in page.tags for key in found}
    assert not [key for key in attributes if key.startswith("on") or key in ("src", "srcset", "xlink:href")]
    assert all(link.startswith("#") for link in page.values("href"))
    styles = page.style + "".join(page.values("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(found["content"] for _, found in page.tags if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
