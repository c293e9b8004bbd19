"""New tokens for activation tags, put into the text encoders of a base and trained beside the adapter (pivotal tuning)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.adapters.adapter import Adapter
from trainer.arena import Group
from trainer.config_text import PivotalConfig
from trainer.draws import generator
from trainer.families.base import Base
from trainer.families.extended_embedding import ExtendedEmbedding
from trainer.families.text import TextEncoder
from trainer.text.new_tokens import NewTokens
from trainer.text.tags import new_tags


@dataclass(frozen=True)
class Pivotal:
    """The new tokens of a job: for each tag, and in it for each text encoder by name, their embeddings (tokens, D)."""

    wanted: Sequence[PivotalConfig]
    rows: Sequence[Mapping[str, nn.Parameter]]

    def groups(self) -> list[Group]:
        """What is trained, for the arena. A decay would pull embeddings to 0, where no word lies; they have none."""
        return [
            Group(
                name=f"new tokens for {one.tag!r} at {one.learning_rate:g}",
                parameters={
                    f"{encoder}.new_tokens.{place}": rows for encoder, rows in mine.items() if encoder in one.encoders
                },
                learning_rate=one.learning_rate,
                weight_decay=0.0,
            )
            for place, (one, mine) in enumerate(zip(self.wanted, self.rows, strict=True))
        ]


NO_NEW_TOKENS = Pivotal((), ())


def put_new_tokens(wanted: Sequence[PivotalConfig], base: Base, adapter: Adapter, seed: int) -> Pivotal:
    """Has the base's text encoders read each tag as its new tokens, unless the adapter is off. Without any nothing changes."""
    if not wanted:
        return NO_NEW_TOKENS
    tags = new_tags([(one.tag, one.tokens) for one in wanted])
    rows: list[dict[str, nn.Parameter]] = [{} for _ in wanted]
    for encoder in base.text_encoders:
        embedding = encoder.network.get_input_embeddings()
        for one, mine in zip(wanted, rows, strict=True):
            first = first_rows(one, encoder, embedding.weight, seed)
            mine[encoder.name] = nn.Parameter(first, requires_grad=encoder.name in one.encoders)
        encoder.network.set_input_embeddings(ExtendedEmbedding(embedding, [mine[encoder.name] for mine in rows]))
        encoder.new_tokens = NewTokens(tags, lambda: adapter.moment.off)
    return Pivotal(tuple(wanted), tuple(rows))


@torch.no_grad()
def first_rows(wanted: PivotalConfig, encoder: TextEncoder, vocabulary: Tensor, seed: int) -> Tensor:
    """What the new tokens begin as, (tokens, D): the embeddings of the initial words, in turn; else draws like `vocabulary`."""
    ids = encoder.token_ids(wanted.initial_words)
    if ids:
        return vocabulary[[ids[place % len(ids)] for place in range(wanted.tokens)]].clone()
    drawn = generator(seed, "new tokens", wanted.tag, encoder.name).standard_normal(
        (wanted.tokens, vocabulary.shape[1]), dtype="float32"
    )
    return vocabulary.mean(0) + vocabulary.std(0) * torch.from_numpy(drawn).to(vocabulary.device)
