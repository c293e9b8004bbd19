"""Reads fields of a resolved spec, and collects what is missing or not possible."""

from __future__ import annotations

from typing import TypeVar, cast

from google.protobuf.message import Message

T = TypeVar("T")


class Reader:
    """`problems` are sentences."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def number(self, message: Message, path: str) -> float:
        name = path.rpartition(".")[2]
        if not message.HasField(name):
            self.problems.append(f"The assignment's spec has no {path}; a resolved spec sets it.")
            return 0
        return cast("float", getattr(message, name))

    def whole(self, message: Message, path: str) -> int:
        return int(self.number(message, path))

    def choice(self, value: int, path: str, choices: dict[int, T]) -> T:
        if value not in choices:
            allowed = ", ".join(dict.fromkeys(str(choice) for choice in choices.values()))
            self.problems.append(f"{path} is unset or not supported by this trainer; it can do: {allowed}.")
            return next(iter(choices.values()))
        return choices[value]
