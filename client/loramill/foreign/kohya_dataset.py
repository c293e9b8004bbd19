"""kohya's sd-scripts: the keys of a dataset configuration (`--dataset_config`, TOML), as `library/config_util.py` knows them.

Fields are those of a subset where they begin with `subsets[].`, else of the spec.
"""

from __future__ import annotations

import math
from typing import Any

from loramill.foreign.rows import Row, Unlike, mapped, needless, unsupported


def side(value: Any) -> int:
    """512, [512, 768] or "512,768" → the side of the square of that area."""
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    sides = [int(str(part).strip()) for part in parts]
    if len(sides) > 2 or not all(sides):
        raise Unlike(f"is {value!r}, which is no size")
    area = sides[0] * sides[-1]
    return max(64, round(math.sqrt(area) / 64) * 64)


def half(value: Any) -> float:
    return 0.5 if value else 0.0


def crop(value: Any) -> str:
    return "random" if value else "center"


def masks(value: Any) -> str:
    return "alpha" if value else "none"


SUBSET_ROWS: tuple[Row, ...] = (
    mapped("image_dir", "subsets[].path_prefix", says="The folder's name in the dataset. Folders inside it are not read."),
    mapped("num_repeats", "subsets[].repeats", default=1),
    mapped("class_tokens", "subsets[].captions.text", says="The caption of pictures that have no caption file."),
    mapped("is_reg", "subsets[].class_images", default=False, says="Pictures of the class, for prior preservation."),
    mapped("shuffle_caption", "subsets[].captions.shuffle_tags", default=False),
    mapped(
        "keep_tokens", "subsets[].captions.keep_tags", default=0,
        says="One fewer where the first of them is the activation tag, which always stays first.",
    ),
    mapped("keep_tokens_separator", "subsets[].captions.keep_separator"),
    mapped("secondary_separator", "subsets[].captions.group_separator"),
    mapped("caption_separator", "subsets[].captions.separator", default=","),
    mapped(
        "enable_wildcard", "subsets[].captions.wildcards", default=False,
        says="Also lines_as_alternatives: each line of a caption file is one caption.",
    ),
    mapped("caption_prefix", "subsets[].captions.prefix", says="With a comma between, which is not needed at its end."),
    mapped("caption_suffix", "subsets[].captions.suffix", says="With a comma between, which is not needed at its start."),
    mapped("caption_dropout_rate", "subsets[].captions.caption_dropout", default=0.0),
    mapped("caption_tag_dropout_rate", "subsets[].captions.tag_dropout", default=0.0),
    mapped("flip_aug", "subsets[].flip_probability", half, default=False, says="true is 0.5."),
    mapped("random_crop", "dataset.crop", crop, default=False, says="For the whole dataset."),
    mapped("alpha_mask", "dataset.masks", masks, default=False, says="For the whole dataset."),
    *needless("Names the caption files, which are called .txt in the dataset.", "caption_extension"),
    *needless("Sizes are read once when the job starts.", "cache_info"),
    *unsupported("Colours are never changed, because latents are kept.", "color_aug"),
    *unsupported("Faces are not looked for; nearest is dataset.crop: smart.", "face_crop_aug_range"),
    *unsupported(
        "Captions are dropped by chance; nearest is caption_dropout, as 1 / the number of epochs.",
        "caption_dropout_every_n_epochs",
    ),
    *unsupported("All tags are there from the first step.", "token_warmup_min", "token_warmup_step", off=(1,)),
    *unsupported("Only folders are read; write the captions into .txt files.", "metadata_file"),
    *unsupported("Masks lie beside their pictures as NAME.mask.png, or in dataset.mask_folder.", "conditioning_data_dir"),
    *unsupported("Nothing reads it.", "custom_attributes"),
    *unsupported("Pictures are made smaller with one filter.", "resize_interpolation"),
)  # fmt: skip

DATASET_ROWS: tuple[Row, ...] = (
    mapped("resolution", "dataset.resolution", side, says="The side of the square of that area, as a multiple of 64."),
    mapped("enable_bucket", "dataset.buckets", default=False),
    mapped("bucket_reso_steps", "dataset.bucket_step", default=64),
    mapped("bucket_no_upscale", "dataset.upscale", lambda value: not value, default=False, says="Turned round."),
    mapped("batch_size", "optimization.batch_size", default=1, says="Of the job, not of the dataset."),
    *needless(
        "Sides of buckets follow from resolution and bucket_step: a quarter of the side to four times it.",
        "min_bucket_reso", "max_bucket_reso",
    ),
    *unsupported("Small pictures are taken; nearest is to leave them out of the dataset.", "skip_image_resolution"),
    *unsupported("Captions weigh as they do everywhere; nearest is subsets[].weight.", "network_multiplier", off=(1, 1.0)),
    *unsupported("No part is held back; previews show what is learnt.", "validation_split", "validation_seed"),
    *unsupported("Old name of num_repeats; give that.", "dataset_repeats"),
)  # fmt: skip
