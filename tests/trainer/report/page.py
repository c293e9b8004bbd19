"""Reads a report as a browser would: a tree of elements, which must be closed, and their texts and attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(attrs) == len(element.attributes), f"an attribute of <{tag}> is given twice"
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        element = self.open.pop()
        assert element.tag == tag, f"</{tag}> closes <{element.tag}>"
        if self.open and element.tag not in ("script", "style"):
            self.open[-1].text += element.text

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1].text += data

    def all(self, tag: str, style: str | None = None) -> list[Element]:
        """The elements of a tag, of one class if given, in order."""
        return [
            element
            for element in self.elements
            if element.tag == tag and (style is None or style in element.attributes.get("class", "").split())
        ]

    @property
    def sections(self) -> list[str]:
        return [element.attributes["id"] for element in self.all("section")]


def read_page(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open, f"never closed: {[element.tag for element in page.open]}"
    return page
