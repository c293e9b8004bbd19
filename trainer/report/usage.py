"""How to use the adapter elsewhere: snippets that run as they stand, with the adapter's own file names, tag and prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.report.data import Usage
from trainer.report.text import one_line, visible
from trainer.samplers import SAMPLERS, Sampler
from trainer.text.tags import name_of_embedding, with_tags_called


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One program's way: what to do first, then what to paste."""

    program: str
    before: str
    code: str
    after: str = ""


def snippets(usage: Usage) -> list[Snippet]:
    """One snippet per program."""
    return [
        Snippet(
            program="diffusers",
            before=f"Save as draw.py beside {usage.diffusers_file or usage.peft_file} and run it with Python.",
            code=diffusers_script(usage),
            after=f"Where the base is not at {usage.base}, change that line.",
        ),
        Snippet(
            program="ComfyUI",
            before=f"Put {usage.kohya_file} into models/loras{_embeddings_into(usage, 'models/embeddings')}. Save this as "
            "workflow.json and drop it onto the window.",
            code=comfyui_workflow(usage),
            after="In a workflow of your own, put the node “Load LoRA” between the checkpoint and everything that uses it.",
        ),
        Snippet(
            program="A1111 and Forge",
            before=f"Put {usage.kohya_file} into models/Lora{_embeddings_into(usage, 'embeddings')}, reload the list of LoRAs, "
            "and paste this as the prompt.",
            code=a1111_prompt(usage),
            after=f"Sampler {SAMPLERS[usage.sampler].a1111}, {usage.steps} steps, CFG {usage.guidance_scale:g}, "
            f"{usage.width} × {usage.height}, seed {usage.seed}.",
        ),
    ]


def diffusers_script(usage: Usage) -> str:
    """A Python program that draws one picture."""
    arguments = [f"    {_python(_called(usage.prompt, usage, '<{}>'))},"]
    if usage.negative_prompt:
        arguments.append(f"    negative_prompt={_python(_called(usage.negative_prompt, usage, '<{}>'))},")
    imports, load = _by_diffusers(usage) if usage.diffusers_file else _by_peft(usage)
    if any(one.encoders > 1 for one in usage.embeddings):
        imports = [*imports, "from safetensors.torch import load_file"]
    return "\n".join(
        [
            *imports,
            "",
            'device = "cuda" if torch.cuda.is_available() else "cpu"',
            f"pipeline = {usage.pipeline}.from_pretrained({_python(usage.base)})",
            *_load_embeddings(usage),
            *load,
            *_sampled(SAMPLERS[usage.sampler]),
            "pipeline.to(device)",
            "picture = pipeline(",
            *arguments,
            f"    width={usage.width},",
            f"    height={usage.height},",
            f"    num_inference_steps={usage.steps},",
            f"    guidance_scale={usage.guidance_scale:g},",
            f"    generator=torch.Generator().manual_seed({usage.seed}),",
            ").images[0]",
            'picture.save("picture.png")',
        ]
    )


def _from_diffusers(usage: Usage) -> str:
    """What the script imports of it."""
    return ", ".join(sorted(filter(None, (usage.pipeline, SAMPLERS[usage.sampler].scheduler))))


def _sampled(sampler: Sampler) -> list[str]:
    """The line that draws by another scheduler than the base's own."""
    if not sampler.scheduler:
        return []
    options = "".join(f", {name}={value!r}" for name, value in sampler.options.items())
    return [f"pipeline.scheduler = {sampler.scheduler}.from_config(pipeline.scheduler.config{options})"]


def _load_embeddings(usage: Usage) -> list[str]:
    """The lines that teach tokenizers and text encoders the tags' new tokens; before adapters, which wrap the encoders."""
    lines: list[str] = []
    for one in usage.embeddings:
        file, token = _python(one.file), _python(f"<{name_of_embedding(one.tag)}>")
        if one.encoders == 1:
            lines.append(f'pipeline.load_textual_inversion(".", weight_name={file}, token={token})')
            continue
        lines += [
            f"embeddings = load_file({file})",
            f'pipeline.load_textual_inversion(embeddings["clip_l"], token={token})',
            f'pipeline.load_textual_inversion(embeddings["clip_g"], token={token}, '
            "text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2)",
        ]
    if any(one.encoders > 1 for one in usage.embeddings):
        # Old configurations find a prompt's end by its largest token, which a new one would be.
        lines.append("pipeline.text_encoder_2.text_model.eos_token_id = pipeline.tokenizer_2.eos_token_id")
    return lines


def _embeddings_into(usage: Usage, folder: str) -> str:
    """Where the tags' embeddings go, to follow where the adapter goes."""
    return "".join(
        f", {one.file} into {folder} as {name_of_embedding(one.tag)}.safetensors" for one in usage.embeddings
    )


def _called(prompt: str, usage: Usage, form: str) -> str:
    """The prompt as a program reads it, tags with new tokens called by their embeddings' names in this form."""
    return with_tags_called(prompt, {one.tag: form.format(name_of_embedding(one.tag)) for one in usage.embeddings})


def _by_diffusers(usage: Usage) -> tuple[list[str], list[str]]:
    """Imports, and the lines that load the adapter."""
    return ["import torch", f"from diffusers import {_from_diffusers(usage)}"], [
        f'pipeline.load_lora_weights(".", weight_name={_python(usage.diffusers_file)}, adapter_name="adapter")',
        f'pipeline.set_adapters("adapter", {usage.strength:g})',
    ]


def _by_peft(usage: Usage) -> tuple[list[str], list[str]]:
    """The same for types that PEFT loads and diffusers does not."""
    imports = ["from zipfile import ZipFile", "", "import torch", f"from diffusers import {_from_diffusers(usage)}"]
    folder = usage.peft_file.removesuffix(".zip")
    return [*imports, "from peft import PeftModel"], [
        f"ZipFile({_python(usage.peft_file)}).extractall({_python(folder)})",
        *(
            f"pipeline.{network} = PeftModel.from_pretrained(pipeline.{network}, {_python(f'{folder}/{network}')})"
            for network in usage.networks
        ),
    ]


def comfyui_workflow(usage: Usage) -> str:
    """A workflow in ComfyUI's API format, one node a line."""
    checkpoint, lora, positive, negative, empty, sampler, decoder = "1", "2", "3", "4", "5", "6", "7"
    nodes: dict[str, tuple[str, dict[str, object]]] = {
        checkpoint: ("CheckpointLoaderSimple", {"ckpt_name": usage.checkpoint_file}),
        lora: (
            "LoraLoader",
            {
                "model": [checkpoint, 0],
                "clip": [checkpoint, 1],
                "lora_name": usage.kohya_file,
                "strength_model": usage.strength,
                "strength_clip": usage.strength,
            },
        ),
        positive: (
            "CLIPTextEncode",
            {"clip": [lora, 1], "text": _literal(_called(usage.prompt, usage, "embedding:{}"), "()")},
        ),
        negative: (
            "CLIPTextEncode",
            {"clip": [lora, 1], "text": _literal(_called(usage.negative_prompt, usage, "embedding:{}"), "()")},
        ),
        empty: ("EmptyLatentImage", {"width": usage.width, "height": usage.height, "batch_size": 1}),
        sampler: (
            "KSampler",
            {
                "model": [lora, 0],
                "positive": [positive, 0],
                "negative": [negative, 0],
                "latent_image": [empty, 0],
                "seed": usage.seed,
                "steps": usage.steps,
                "cfg": usage.guidance_scale,
                "sampler_name": SAMPLERS[usage.sampler].comfyui[0],
                "scheduler": SAMPLERS[usage.sampler].comfyui[1],
                "denoise": 1.0,
            },
        ),
        decoder: ("VAEDecode", {"samples": [sampler, 0], "vae": [checkpoint, 2]}),
        "8": ("SaveImage", {"images": [decoder, 0], "filename_prefix": PurePosixPath(usage.kohya_file).stem}),
    }
    lines = [
        f"  {_json(key)}: {_json({'class_type': kind, 'inputs': inputs})}" for key, (kind, inputs) in nodes.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}"


def a1111_prompt(usage: Usage) -> str:
    """The prompt, with the adapter called by its file's name."""
    name = PurePosixPath(usage.kohya_file).stem
    return f"{_literal(one_line(_called(usage.prompt, usage, '{}')), '()[]')} <lora:{name}:{usage.strength:g}>"


def _literal(prompt: str, signs: str) -> str:
    """The prompt with the signs that would weight its words taken literally, as diffusers takes them."""
    escaped = prompt.replace("\\", "\\\\") if "[" in signs else prompt
    return "".join("\\" + sign if sign in signs else sign for sign in escaped)


def _python(text: str) -> str:
    """A Python literal; `repr` escapes all that is not printable, and so all that `visible` would change."""
    return repr(text)


def _json(value: object) -> str:
    """JSON, in plain letters where that changes nothing that a person sees."""
    text = json.dumps(value, ensure_ascii=False)
    return text if visible(text) == text else json.dumps(value)
