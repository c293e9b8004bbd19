"""The model card: README.md with a front matter in YAML, as the Hugging Face hub reads it.

Texts of users stand in the front matter as YAML escapes them, and in the text as Markdown that shows them and does nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import yaml

from trainer.report.data import SavedFile, Usage
from trainer.report.text import one_line, visible
from trainer.report.usage import snippets

LICENSES = frozenset(
    [
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "artistic-2.0",
        "bigscience-openrail-m",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsl-1.0",
        "cc",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "creativeml-openrail-m",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "mit",
        "mpl-2.0",
        "openrail",
        "openrail++",
        "unlicense",
        "wtfpl",
        "zlib",
    ]
)
"""Identifiers that the hub takes as `license`; anything else is `other`, with a name."""

MOST_PROMPTS = 12
_HUB = re.compile(r"hf://([^/@]+/[^/@]+)")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~<>&$-])")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card is made of."""

    title: str
    kind: str
    """Such as "LoRA"."""
    family: str
    base: str
    """The base model's id."""
    base_source: str
    """Where that was imported from; empty where it is not known."""
    license: str
    """Of the base model, as it came with it; empty where it is not known."""
    steps: int
    pictures: int
    resolution: int
    created: datetime
    """When the job was accepted."""
    prompts: Sequence[tuple[str, str]]
    """(prompt, negative prompt)."""
    sheet: str
    """File name of the contact sheet; empty where there is none."""
    usage: Usage
    files: Sequence[SavedFile]


def model_card(facts: CardFacts) -> str:
    """The whole file. The same facts give the same text."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n{_body(facts)}"


def front_matter(facts: CardFacts) -> dict[str, object]:
    """What the hub reads of a card."""
    tags = ["text-to-image", "diffusers", "lora", facts.kind.lower(), facts.family, "template:sd-lora"]
    matter: dict[str, object] = {
        **_license(facts.license),
        "library_name": "diffusers" if facts.usage.diffusers_file else "peft",
        "pipeline_tag": "text-to-image",
        "base_model": _hub_id(facts.base_source) or visible(facts.base),
        "base_model_relation": "adapter",
        "tags": list(dict.fromkeys(tags)),
    }
    if facts.usage.activation_tag:
        matter["instance_prompt"] = visible(facts.usage.activation_tag)
    if facts.prompts:
        matter["widget"] = [_widget(*prompt) for prompt in facts.prompts[:MOST_PROMPTS]]
    return matter


def _hub_id(source: str) -> str:
    """`owner/repo` of what was imported from the hub; empty for other places."""
    found = _HUB.match(source)
    return found[1] if found else ""


def _license(text: str) -> dict[str, object]:
    if not text:
        return {}
    known = text.strip().lower()
    return {"license": known} if known in LICENSES else {"license": "other", "license_name": one_line(text)}


def _widget(prompt: str, negative: str) -> dict[str, object]:
    said: dict[str, object] = {"text": visible(prompt) or "-"}
    return {**said, "parameters": {"negative_prompt": visible(negative)}} if negative else said


def _body(facts: CardFacts) -> str:
    tag, base = facts.usage.activation_tag, _hub_id(facts.base_source)
    told_base = f"[{base}](https://huggingface.co/{base})" if base else f"the base model {_plain(facts.base)}"
    parts = [
        f"# {_plain(facts.title)}",
        f"A {facts.kind} for {told_base} ({facts.family}), trained for {facts.steps} steps on {facts.pictures} pictures at "
        f"{facts.resolution} pixels.",
        f"Its activation tag is {_code(tag)}: a prompt that should show the concept needs it."
        if tag
        else "It has no activation tag: loading it is enough.",
    ]
    if facts.sheet:
        parts.append(f"![The same prompts and seeds without and with it]({facts.sheet})")
    parts.append("## How to use it")
    for snippet in snippets(facts.usage):
        language = {"diffusers": "python", "ComfyUI": "json"}.get(snippet.program, "text")
        parts += [f"### {snippet.program}", _plain(snippet.before), _fenced(snippet.code, language)]
        parts += [_plain(snippet.after)] if snippet.after else []
    parts.append("## Files")
    parts.append("\n".join(["| file | what it is |", "|---|---|", *(_row(file) for file in facts.files)]))
    told = f"It was trained by Loramill, from a job of {facts.created:%Y-%m-%d}."
    parts.append(f"{told} The licence of the base model is {_plain(facts.license)}." if facts.license else told)
    return "\n\n".join(parts) + "\n"


def _row(file: SavedFile) -> str:
    note = f" ({file.note})" if file.note else ""
    return f"| {_plain(file.name)} | {_plain(file.what + note)} |"


def _plain(text: str) -> str:
    """As Markdown that shows this text on one line."""
    return _MARKS.sub(r"\\\1", one_line(text))


def _code(text: str) -> str:
    """An inline code span, whatever ticks the text has."""
    shown = one_line(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{ticks} {shown} {ticks}" if "`" in shown else f"`{shown}`"


def _fenced(code: str, language: str) -> str:
    """A block of code, whatever ticks it has."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return f"{ticks}{language}\n{visible(code)}\n{ticks}"
