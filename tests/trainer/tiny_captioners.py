"""Models of random weights that caption pictures, as real to transformers as the large ones."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "red", "cat", "dog", "on", "mat", "##s"]


def make_blip(folder: Path) -> Path:
    """One that writes."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "encoder_hidden_size": 16, "bos_token_id": 5, "eos_token_id": 3}
    text |= {"pad_token_id": 0, "sep_token_id": 3, "max_position_embeddings": 96}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16}
    BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(str(folder / "vocab.txt"), bos_token="[DEC]")).save_pretrained(folder)
    return folder


def make_tagger(folder: Path) -> Path:
    """One that is sure of a cat, less of long hair, and of nothing else."""
    torch.manual_seed(0)
    names = {0: "long_hair", 1: "outdoors", 2: "cat"}
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
            id2label=names,
            label2id={name: place for place, name in names.items()},
        )
    )
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.tensor([1.0, -3.0, 2.0])
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
