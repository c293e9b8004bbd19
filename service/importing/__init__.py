"""Imports of base models: from a source as people have it to whole, checked files in the diffusers layout, in the store.

    sources.py        addresses: hf://, s3://, file://
    places.py         what each kind of source can do: list and fetch; hub.py, objects.py, folders.py do it, opening.py chooses
    selection.py      which of the files that are there are taken
    checkpoint.py     a single-file checkpoint: its family and where its parts stand
    conversion.py     its tensors in the diffusers layout; unet_weights.py, vae_weights.py, text_weights.py know the names
    clip_vocabulary.py  the tokenizer, which no single file carries; families/ the configurations, which none does either
    work.py           the story of one import; __main__.py runs it as a process of its own

Nothing here computes with a weight: tensors are bytes that are moved, so that no torch is needed and memory stays small.
"""
