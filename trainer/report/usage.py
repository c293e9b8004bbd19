"""How to use the adapter elsewhere: snippets that run as they stand, with the adapter's own file names, tag and prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.report.data import Usage
from trainer.report.text import one_line, visible


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
            before=f"Put {usage.kohya_file} into models/loras. Save this as workflow.json and drop it onto the window.",
            code=comfyui_workflow(usage),
            after="In a workflow of your own, put the node “Load LoRA” between the checkpoint and everything that uses it.",
        ),
        Snippet(
            program="A1111 and Forge",
            before=f"Put {usage.kohya_file} into models/Lora, reload the list of LoRAs, and paste this as the prompt.",
            code=a1111_prompt(usage),
            after=f"Sampler DDIM, {usage.steps} steps, CFG {usage.guidance_scale:g}, "
            f"{usage.width} × {usage.height}, seed {usage.seed}.",
        ),
    ]


def diffusers_script(usage: Usage) -> str:
    """A Python program that draws one picture."""
    arguments = [f"    {_python(usage.prompt)},"]
    if usage.negative_prompt:
        arguments.append(f"    negative_prompt={_python(usage.negative_prompt)},")
    imports, load = _by_diffusers(usage) if usage.diffusers_file else _by_peft(usage)
    return "\n".join(
        [
            *imports,
            "",
            'device = "cuda" if torch.cuda.is_available() else "cpu"',
            f"pipeline = {usage.pipeline}.from_pretrained({_python(usage.base)})",
            *load,
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


def _by_diffusers(usage: Usage) -> tuple[list[str], list[str]]:
    """Imports, and the lines that load the adapter."""
    return ["import torch", f"from diffusers import {usage.pipeline}"], [
        f'pipeline.load_lora_weights(".", weight_name={_python(usage.diffusers_file)}, adapter_name="adapter")',
        f'pipeline.set_adapters("adapter", {usage.strength:g})',
    ]


def _by_peft(usage: Usage) -> tuple[list[str], list[str]]:
    """The same for types that PEFT loads and diffusers does not."""
    imports = ["from zipfile import ZipFile", "", "import torch", f"from diffusers import {usage.pipeline}"]
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
        positive: ("CLIPTextEncode", {"clip": [lora, 1], "text": _literal(usage.prompt, "()")}),
        negative: ("CLIPTextEncode", {"clip": [lora, 1], "text": _literal(usage.negative_prompt, "()")}),
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
                "sampler_name": "ddim",
                "scheduler": "normal",
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
    return f"{_literal(one_line(usage.prompt), '()[]')} <lora:{name}:{usage.strength:g}>"


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
