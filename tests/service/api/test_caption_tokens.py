from __future__ import annotations

import json
import shutil
from pathlib import Path

import grpc
import pytest
from tokenizers import Tokenizer

from loramill import v1
from service.caption_tokens import clip_tokenizer
from tests.service.api.api import Api, error_of
from tests.service.api.tiny_base import write_base

SHAPES_TOKENIZER = Path(__file__).parents[3] / "trainer/builtin/shapes/base/tokenizer"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def inspected(api: Api, caption: str, max_tokens: int = 0, base: str = "words") -> list[v1.EncoderTokens]:
    """By a base that has the built-in base's tokenizer, unless it is named; imported when it is first asked for."""
    if not (api.models / base).exists():
        folder = write_base(api.models / base)
        for name in ("vocab.json", "merges.txt", "tokenizer.json"):
            shutil.copyfile(SHAPES_TOKENIZER / name, folder / "tokenizer" / name)
        await api.bases.ImportBaseModel(v1.ImportBaseModelRequest(base_model_id=base, source_uri=folder.as_uri()))
    request = v1.InspectTokensRequest(name=f"baseModels/{base}", caption=caption, max_tokens=max_tokens)
    return list((await api.bases.InspectTokens(request)).encoders)


async def test_a_caption_is_told_token_by_token(api: Api) -> None:
    (encoder,) = await inspected(api, "a Red  zo star")
    assert encoder.encoder == "text_encoder"
    assert [(token.piece, token.text, token.chunk) for token in encoder.tokens] == [
        ("a</w>", "a", 1),
        ("red</w>", "Red", 1),
        ("z", "z", 1),
        ("o</w>", "o", 1),
        ("star</w>", "star", 1),
    ]
    assert (encoder.chunks, encoder.cut) == (1, 0)


async def test_an_empty_caption_is_one_empty_chunk(api: Api) -> None:
    (encoder,) = await inspected(api, "")
    assert (list(encoder.tokens), encoder.chunks, encoder.cut) == ([], 1, 0)


@pytest.mark.parametrize(("max_tokens", "chunks", "cut"), [(0, 1, 85), (75, 1, 85), (150, 2, 10), (225, 3, 0)])
async def test_what_is_beyond_the_limit_is_cut_off(api: Api, max_tokens: int, chunks: int, cut: int) -> None:
    (encoder,) = await inspected(api, "star " * 160, max_tokens)
    assert (encoder.chunks, encoder.cut, len(encoder.tokens)) == (chunks, cut, 160)
    expected = [*[1] * 75, *[2] * 75, *[3] * 10]
    assert [token.chunk for token in encoder.tokens] == [chunk if chunk <= chunks else 0 for chunk in expected]


async def test_both_encoders_of_a_base_are_told_each_by_its_own_tokenizer(api: Api) -> None:
    """A tokenizer of the older kind beside one of the newer, as SDXL's folders have them."""
    base = write_base(api.models / "two")
    vocabulary = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    (base / "tokenizer/vocab.json").write_text(json.dumps(vocabulary))
    (base / "tokenizer/merges.txt").write_text("#version: 0.2\na b</w>\n")
    await api.bases.ImportBaseModel(v1.ImportBaseModelRequest(base_model_id="two", source_uri=base.as_uri()))
    store, keys = api.service.store, "_shared/bases/two/files/"
    store.put_new(f"{keys}tokenizer_2/tokenizer.json", (SHAPES_TOKENIZER / "tokenizer.json").read_bytes())
    first, second = await inspected(api, "ab ba", base="two")
    assert [token.id for token in first.tokens] == [4, 1, 2]
    assert (second.encoder, len(second.tokens)) == ("text_encoder_2", 4)


async def test_both_kinds_of_files_split_alike() -> None:
    newer = Tokenizer.from_str((SHAPES_TOKENIZER / "tokenizer.json").read_text())
    newer.no_padding()
    older = clip_tokenizer(
        json.loads((SHAPES_TOKENIZER / "vocab.json").read_text()), (SHAPES_TOKENIZER / "merges.txt").read_text()
    )
    for caption in ("a red  STAR, lumi's (x:1.2)", "ünïcode 日本 🎈 12", "<|endoftext|> don't", "", " \n"):
        expected, found = newer.encode(caption, add_special_tokens=False), older.encode(caption)
        assert (found.ids, found.offsets) == (expected.ids, expected.offsets), caption


async def test_what_is_wrong_is_said_at_once(api: Api) -> None:
    request = v1.InspectTokensRequest(name="baseModels/shapes", caption="x" * 10_001, max_tokens=100)
    answer = await error_of(api.bases.InspectTokens(request))
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "caption has 10001 characters" in answer.message
    assert answer.reasons == {"caption": "OUT_OF_RANGE", "max_tokens": "OUT_OF_RANGE"}
    absent = await error_of(api.bases.InspectTokens(v1.InspectTokensRequest(name="baseModels/absent")))
    assert absent.code == grpc.StatusCode.NOT_FOUND


async def test_a_vocabulary_that_cannot_spell_a_caption_is_named(api: Api) -> None:
    """That of the tests' base has one letter."""
    answer = await error_of(api.bases.InspectTokens(v1.InspectTokensRequest(name="baseModels/shapes", caption="b")))
    assert answer.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "The tokenizer of text_encoder cannot split this caption" in answer.message
