"""What is said of an adapter's files and of how to use them: in its report, and on its model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loramill import v1
from trainer.report.data import SavedFile, TagEmbedding, Usage
from trainer.report.model_card import CardFacts, model_card

if TYPE_CHECKING:
    from trainer.outputs import Saver

TYPES = {"lora": "LoRA", "locon": "LoCon", "loha": "LoHa", "lokr": "LoKr", "dylora": "DyLoRA"}
_FORMATS = {
    v1.ADAPTER_FORMAT_KOHYA: "the adapter, for ComfyUI, Forge and A1111; of a plain LoRA for diffusers too",
    v1.ADAPTER_FORMAT_DIFFUSERS: "the same, with diffusers' own keys",
    v1.ADAPTER_FORMAT_PEFT: "the same, as PEFT's directories, zipped",
    v1.ADAPTER_FORMAT_CONVERTED: "converted to a plain LoRA, for programs that load nothing else",
    v1.ADAPTER_FORMAT_TRUNCATED: "the adapter at a smaller rank",
    v1.ADAPTER_FORMAT_EMBEDDING: "the new tokens of an activation tag, which the adapter needs, for all of these programs",
    v1.ADAPTER_FORMAT_MODEL_CARD: "the model card, as the Hugging Face hub reads it",
    v1.ADAPTER_FORMAT_TENSORBOARD: "measurements and previews, for TensorBoard",
    v1.ADAPTER_FORMAT_CONTACT_SHEET: "the same prompts and seeds without and with the adapter",
}


def usage_of(saver: Saver, files: Sequence[v1.AdapterFile]) -> Usage:
    """How the adapter that these files are of is used."""
    config, provenance = saver.config, saver.provenance
    prompts = config.previews.prompts
    names = {file.format: file.file_name for file in files}
    peft = names.get(v1.ADAPTER_FORMAT_PEFT, "")
    return Usage(
        kohya_file=f"{config.output_name}.safetensors",
        # What diffusers loads without loss, else PEFT, else with the loss that the list of files states.
        diffusers_file=names.get(
            v1.ADAPTER_FORMAT_DIFFUSERS, "" if peft else names.get(v1.ADAPTER_FORMAT_CONVERTED, "")
        ),
        peft_file=peft,
        networks=list(config.trained),
        pipeline=provenance.family.pipeline,
        base=provenance.base_name,
        checkpoint_file=f"{provenance.base_name}.safetensors",
        prompt=prompts[0].prompt if prompts else config.activation_tag or config.class_words,
        negative_prompt=prompts[0].negative_prompt if prompts else "",
        activation_tag=config.activation_tag,
        embeddings=_embeddings(saver, files),
        seed=prompts[0].seed if prompts else 0,
        width=config.previews.width,
        height=config.previews.height,
        sampler=config.previews.sampler,
        steps=config.previews.inference_steps,
        guidance_scale=config.previews.guidance_scale,
    )


def files_of(files: Sequence[v1.AdapterFile]) -> list[SavedFile]:
    """What each file is, for people."""
    return [
        SavedFile(name=file.file_name, what=_FORMATS[file.format], size_bytes=file.size_bytes, note=_note(file))
        for file in files
    ]


def _note(file: v1.AdapterFile) -> str:
    if file.HasField("relative_error"):
        return f"at most rank {file.rank}; lacks {100 * file.relative_error:.2g} % of the change, by its norm"
    return f"rank {file.rank}" if file.rank else ""


def _embeddings(saver: Saver, files: Sequence[v1.AdapterFile]) -> list[TagEmbedding]:
    names = [file.file_name for file in files if file.format == v1.ADAPTER_FORMAT_EMBEDDING]
    return [
        TagEmbedding(tag=one.tag, file=name, encoders=len(rows))
        for name, one, rows in zip(names, saver.pivotal.wanted, saver.pivotal.rows, strict=True)
    ]


def card_of(saver: Saver, step: int, files: Sequence[v1.AdapterFile]) -> str:
    """The model card of the adapter after `step` steps, as text."""
    config, base = saver.config, saver.record.assignment.base_model
    return model_card(
        CardFacts(
            title=config.title or config.output_name,
            kind=TYPES[config.adapter.type],
            family=config.family,
            base=base.name.removeprefix("baseModels/"),
            base_source=base.source_uri,
            license=base.license,
            steps=step,
            pictures=len(saver.examples),
            resolution=config.pictures.resolution,
            created=config.created,
            prompts=[(prompt.prompt, prompt.negative_prompt) for prompt in config.previews.prompts],
            sheet=next((file.file_name for file in files if file.format == v1.ADAPTER_FORMAT_CONTACT_SHEET), ""),
            usage=usage_of(saver, files),
            files=files_of(files),
        )
    )
