"""What a base makes of activation tags, measured before training: `tag_check` says what it means.

Shapes: N pairs (t, ε), C channels and h × w of the latents, V tokens of a vocabulary, D width of its embeddings.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.concepts.tag_check import Neighbour, Split, TagFinding, judged, made_up_tags, ordinary_words
from trainer.draws import generator
from trainer.families.base import Base, Conditioning, Framing
from trainer.families.text import TextEncoder
from trainer.noise import add_noise

PAIRS = 8
"""Pairs (t, ε) of each text, t stratified: enough to rank texts, since all of them see the same pairs."""

VERSION = 1
"""Of what is found of a tag: findings of other versions are made again."""

_SHORTEST_WORD = 3
_WORD_END = "</w>"


@dataclass(frozen=True)
class Pictures:
    """What the pairs are laid on: some of the dataset's own pictures, of one size."""

    latents: Sequence[Tensor]
    """(C, h, w), as the UNet takes them."""
    framing: Framing
    key: object
    """All that they depend on, as plain data."""


@torch.no_grad()
def strengths(base: Base, texts: Sequence[str], pictures: Pictures, at_once: int) -> dict[str, float]:
    """E‖ε̂(∅) - ε̂(text)‖² of each text, a mean over the PAIRS, pictures in turn."""
    steps = len(base.alphas_cumprod)
    timesteps = torch.tensor([int((place + 0.5) / PAIRS * steps) for place in range(PAIRS)], device=base.device)
    latents = torch.stack([pictures.latents[place % len(pictures.latents)] for place in range(PAIRS)]).to(base.device)
    drawn = [
        generator(0, "tag check", place).standard_normal(tuple(latents.shape[1:]), dtype="float32")
        for place in range(PAIRS)
    ]
    eps = torch.stack([torch.from_numpy(values) for values in drawn]).to(base.device)
    noisy = add_noise(latents, eps, base.alphas_cumprod[timesteps])

    def predicted(text: str) -> Tensor:
        said = base.encode_captions([text])
        parts = []
        for start in range(0, PAIRS, at_once):
            part = slice(start, start + at_once)
            count = len(noisy[part])
            told = base.framed(_repeated(said, count), [pictures.framing] * count)
            parts.append(base.predict(noisy[part], timesteps[part], told))
        return torch.cat(parts)

    nothing = predicted("")
    return {text: float(((predicted(text) - nothing) ** 2).mean()) for text in dict.fromkeys(texts)}


def _repeated(said: Conditioning, count: int) -> Conditioning:
    pooled = None if said.pooled is None else said.pooled.expand(count, -1)
    return Conditioning(said.words.expand(count, -1, -1), pooled)


@dataclass(frozen=True)
class TagChecks:
    """Checks tags on a base, through the cache. Use it while no adapter is in the base, or it is off.

    `depends_on` is what the base's answers depend on, as plain data; `at_once` how many pictures the base is asked about at once.
    """

    base: Base
    pictures: Pictures
    cache: Cache
    depends_on: Mapping[str, object]
    at_once: int

    def finding(self, tag: str) -> TagFinding:
        """What is found of a tag; of one that was checked before, without asking the base."""
        key = self._key("tag-findings", tag=tag, version=VERSION)
        value = self.cache.get(key)
        if value is None:
            value = {"finding": packed(self._measured(tag))}
            self.cache.put(key, value)
        return unpacked(value["finding"])

    def _measured(self, tag: str) -> TagFinding:
        encoder = self.base.text_encoders[0]

        def is_token(word: str) -> bool:
            return len(encoder.token_ids(word)) == 1

        made_up = made_up_tags(is_token)
        references = [*ordinary_words(is_token), *made_up]
        known = self._strengths(references)
        if tag not in known:
            known |= self._strengths([tag])
        return judged(tag, [split_of(one, tag) for one in self.base.text_encoders], known, made_up)

    def _strengths(self, texts: Sequence[str]) -> dict[str, float]:
        key = self._key("tag-strengths", texts=list(texts), pairs=PAIRS)
        value = self.cache.get(key)
        if value is None:
            found = strengths(self.base, texts, self.pictures, self.at_once)
            value = {"strengths": torch.tensor([found[text] for text in texts], dtype=torch.float64)}
            self.cache.put(key, value)
        return dict(zip(texts, value["strengths"].tolist(), strict=True))

    def _key(self, kind: str, **what: object) -> str:
        recipes = [encoder.recipe for encoder in self.base.text_encoders]
        return self.cache.key(kind, pictures=self.pictures.key, recipes=recipes, **self.depends_on, **what)


def packed(finding: TagFinding) -> Tensor:
    """The finding as bytes, for a cache of tensors."""
    return torch.tensor(list(json.dumps(dataclasses.asdict(finding)).encode()), dtype=torch.uint8)


def unpacked(content: Tensor) -> TagFinding:
    """What `packed` was given."""
    plain = json.loads(bytes(content.tolist()))
    splits = tuple(
        Split(
            one["encoder"],
            tuple(Neighbour(**neighbour) for neighbour in one["neighbours"]),
            one["is_of_known_words"],
        )
        for one in plain["splits"]
    )
    lists = {name: tuple(plain[name]) for name in ("reasons", "suggestions")}
    return TagFinding(**{**plain, **lists, "splits": splits})


@torch.no_grad()
def split_of(encoder: TextEncoder, tag: str) -> Split:
    """The tag's tokens, and the word of the vocabulary, other than themselves, that each lies nearest to."""
    tokenizer = encoder.tokenizer
    vocabulary = tokenizer.get_vocab()
    words = {token: number for token, number in vocabulary.items() if _is_word(token)}
    numbers = torch.tensor(list(words.values()), device=encoder.network.device)
    names = [token.removesuffix(_WORD_END) for token in words]
    ids = encoder.token_ids(tag)
    weight: Tensor = encoder.network.get_input_embeddings().weight
    directions = torch.nn.functional.normalize(weight[numbers].float(), dim=1)
    neighbours = []
    for number, piece in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        likeness = directions @ torch.nn.functional.normalize(weight[number].float(), dim=0)
        likeness[numbers == number] = -1.0
        best = int(likeness.argmax())
        neighbours.append(Neighbour(piece, names[best], float(likeness[best])))
    return Split(encoder.name, tuple(neighbours), all(len(encoder.token_ids(word)) == 1 for word in tag.split()))


def _is_word(token: str) -> bool:
    word = token.removesuffix(_WORD_END)
    return token.endswith(_WORD_END) and len(word) >= _SHORTEST_WORD and word.isascii() and word.isalpha()
