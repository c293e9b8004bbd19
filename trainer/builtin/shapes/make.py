"""Makes the built-in base model from nothing: `python -m trainer.builtin.shapes.make --out DIRECTORY`.

A VAE learns to see all shapes; then a text encoder and a UNet learn to draw the ones that are not held out; then the VAE's
decoder goes on alone. Every phase is resumable: run the command again and it goes on. About an hour on two cores;
`--steps-share 0.01` makes a quick, bad one. With `--vae` the eyes of a finished base are kept: they met every shape.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from trainer.builtin.shapes import draw
from trainer.builtin.shapes.fitting import fit
from trainer.builtin.shapes.vocabulary import make_tokenizer

VAE_STEPS, VAE_BATCH, VAE_PICTURES = 4_000, 16, 16_000
DECODER_STEPS, DECODER_NOISE = 1_200, 0.05
UNET_STEPS, UNET_BATCH, UNET_PICTURES = 3_000, 48, 32_000
POLISH_STEPS = 700
"""A second, lower cycle: after the first the small stars were still drawn badly (64 of 100)."""
CAPTION_DROPOUT = 0.1


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 24, 48, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=draw.SIZE,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=96,
        )
    )


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=draw.SIZE // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 112),
        layers_per_block=1,
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def pixels(scenes: list[draw.Scene]) -> torch.Tensor:
    """(N, 3, SIZE, SIZE) uint8."""
    return (
        torch.from_numpy(np.stack([np.asarray(draw.draw(scene)) for scene in scenes])).permute(0, 3, 1, 2).contiguous()
    )


def normalized(pixel_bytes: torch.Tensor) -> torch.Tensor:
    """uint8 pixels as the VAE takes them, -1 to 1."""
    return pixel_bytes.float().div(127.5).sub(1)


class EyeTest:
    """Batches of every shape, and how far pictures are from them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
        scenes = [draw.random_scene(rng, striped=0.25) for _ in range(VAE_PICTURES)]
        self._pictures = pixels(scenes)
        self._masks = torch.from_numpy(np.stack([np.asarray(draw.mask(scene, draw.SIZE)) for scene in scenes]))[:, None]

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, SIZE, SIZE) from -1 to 1, half of all batches mirrored, and their shapes' masks, 0 to 1."""
        chosen = torch.from_numpy(rng.integers(len(self._pictures), size=VAE_BATCH))
        x, mask = normalized(self._pictures[chosen]), self._masks[chosen].float() / 255
        return (x.flip(-1), mask.flip(-1)) if rng.random() < 0.5 else (x, mask)

    @staticmethod
    def error(seen: torch.Tensor, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """L1 and L2. Shapes cover a fifth of a picture and hold all of its meaning, so their pixels weigh more."""
        difference = seen - x
        weight = 1 + 2 * functional.max_pool2d(mask, 5, stride=1, padding=2)
        return (weight * (difference.abs() + 2 * difference.square())).mean() / weight.mean()


def make_vae(test: EyeTest, work: Path, seed: int, steps: int) -> AutoencoderKL:
    """The eyes: trained on every shape, held-out ones too, since a base may see what its words do not name."""
    vae = new_vae()

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        x, mask = test.batch(rng)
        posterior = vae.encode(x).latent_dist
        divergence: torch.Tensor = posterior.kl().mean() / x[0].numel()
        return test.error(vae.decode(posterior.sample()).sample, x, mask) + 1e-3 * divergence

    fit("vae", vae, loss_of, steps=steps, peak=2e-3, work=work, seed=seed)
    return vae


def sharpen_decoder(vae: AutoencoderKL, test: EyeTest, work: Path, seed: int, steps: int) -> None:
    """The decoder alone goes on, with latents a little off, as the UNet's will be; the latents' meaning stays."""

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        x, mask = test.batch(rng)
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.sample()
            latents = latents + DECODER_NOISE / vae.config.scaling_factor * torch.randn_like(latents)
        return test.error(vae.decode(latents).sample, x, mask)

    decoder = torch.nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})
    fit("decoder", decoder, loss_of, steps=steps, peak=1e-3, work=work, seed=seed + 2)


@torch.no_grad()
def encode_pictures(
    vae: AutoencoderKL, work: Path, seed: int, shapes: tuple[str, ...], count: int
) -> tuple[torch.Tensor, list[str]]:
    """Latent means and log-variances (N, 8, 8, 8) of pictures of `shapes`, and their captions; kept in `work`."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    scenes = [draw.random_scene(rng, shapes) for _ in range(count)]
    captions = [draw.caption(scene, size_word=bool(rng.random() < 0.3)) for scene in scenes]
    file = work / "latents.safetensors"
    if not file.exists():
        parts = []
        for start in range(0, count, 64):
            parts.append(vae.encode(normalized(pixels(scenes[start : start + 64]))).latent_dist.parameters)
            if start % 6400 == 0:
                print(f"latents {start}/{count}", flush=True)
        save_file({"parameters": torch.cat(parts).contiguous()}, file)
    return load_file(file)["parameters"], captions


def make_denoiser(
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    work: Path,
    seed: int,
    shapes: tuple[str, ...],
    steps: tuple[int, int],
    count: int,
) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """The words and the hand: trained together on the pictures of `shapes` only, in two cycles of `steps`.

    Sets the VAE's scaling factor.
    """
    parameters, captions = encode_pictures(vae, work, seed, shapes, count)
    scaling = round(1 / float(parameters[:, :4].std()), 4)
    vae.register_to_config(scaling_factor=scaling)
    tokens = tokenizer([*captions, ""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    torch.manual_seed(seed)
    text_encoder, unet = new_text_encoder(tokenizer), new_unet()
    scheduler = new_scheduler()

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        chosen = rng.integers(count, size=UNET_BATCH)
        mean, logvar = parameters[torch.from_numpy(chosen)].chunk(2, dim=1)
        latents = scaling * (mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        said = np.where(rng.random(UNET_BATCH) < CAPTION_DROPOUT, count, chosen)
        timesteps = torch.from_numpy(rng.integers(1000, size=UNET_BATCH))
        noise = torch.randn_like(latents)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        words = text_encoder(tokens[torch.from_numpy(said)])[0]
        predicted = unet(noisy, timesteps, words).sample
        return functional.mse_loss(predicted, noise)

    both = torch.nn.ModuleDict({"text_encoder": text_encoder, "unet": unet})
    fit("denoiser", both, loss_of, steps=steps[0], peak=1.5e-3, work=work, seed=seed + 1)
    fit("polish", both, loss_of, steps=steps[1], peak=6e-4, work=work, seed=seed + 3)
    return text_encoder, unet


def export(
    out: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, unet: UNet2DConditionModel
) -> None:
    """Writes the diffusers layout: UNet and VAE in fp16, the text encoder in fp32, its keys as transformers 4 and 5 read them."""
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out)
    weights = out / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    named = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in tensors.items()}
    save_file(named, weights, metadata={"format": "pt"})
    described = json.loads((out / "tokenizer" / "tokenizer.json").read_text())["model"]
    (out / "tokenizer" / "vocab.json").write_text(json.dumps(described["vocab"], ensure_ascii=False))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in described["merges"]]
    (out / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the finished model goes")
    parser.add_argument("--work", type=Path, default=Path("build/shapes"), help="where a stopped run goes on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--hold-out", default=",".join(draw.HELD_OUT), help="shapes that UNet and text encoder never meet"
    )
    parser.add_argument("--steps-share", type=float, default=1.0, help="share of the full number of steps")
    parser.add_argument("--vae", type=Path, help="folder of a finished VAE to keep; without it one is trained")
    arguments = parser.parse_args()
    held_out = arguments.hold_out.split(",")
    unknown = set(held_out) - set(draw.SHAPES)
    if unknown:
        parser.error(f"--hold-out names {sorted(unknown)}; known shapes are {', '.join(draw.SHAPES)}")
    known = tuple(shape for shape in draw.SHAPES if shape not in held_out)
    arguments.work.mkdir(parents=True, exist_ok=True)

    def share(number: int) -> int:
        return max(64, round(number * float(arguments.steps_share)))

    torch.manual_seed(arguments.seed)
    test = None if arguments.vae else EyeTest(arguments.seed)
    vae = (
        make_vae(test, arguments.work, arguments.seed, share(VAE_STEPS))
        if test
        else AutoencoderKL.from_pretrained(arguments.vae, torch_dtype=torch.float32).eval()
    )
    tokenizer = make_tokenizer(known)
    text_encoder, unet = make_denoiser(
        vae,
        tokenizer,
        arguments.work,
        arguments.seed,
        known,
        (share(UNET_STEPS), share(POLISH_STEPS)),
        share(UNET_PICTURES),
    )
    if test:
        sharpen_decoder(vae, test, arguments.work, arguments.seed, share(DECODER_STEPS))
    export(arguments.out, vae, tokenizer, text_encoder, unet)
    print(f"made {arguments.out}")


if __name__ == "__main__":
    main()
