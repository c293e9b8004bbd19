"""The files: keys as other tools spell them, metadata without what is private, the same bytes for the same adapter."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path

import pytest
import torch
from google.protobuf.json_format import ParseDict
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from loramill import v1
from tests.trainer.assignments import CREATED
from tests.trainer.formats.drawn import SOME_LAYERS, drawn_layers
from tests.trainer.jobs import Job, Jobs
from tests.trainer.small_training import config_of, example
from tests.trainer.tiny_base import tiny_unet
from trainer.config import TrainConfig
from trainer.families.facts import FamilyFacts
from trainer.formats.code import code_digest
from trainer.formats.files import content_sha256, tensors_sha256, write
from trainer.formats.metadata import Provenance, adapter_metadata
from trainer.materials import read_manifest
from trainer.outputs import thumbnail

TRANSFORMER = "down_blocks_0_attentions_0_transformer_blocks_0"
KOHYA_KEYS = {
    f"lora_unet_{TRANSFORMER}_attn1_to_q": ((4, 32), (32, 4), 2),
    f"lora_unet_{TRANSFORMER}_attn2_to_k": ((4, 32), (32, 4), 2),
    f"lora_unet_{TRANSFORMER}_attn2_to_out_0": ((4, 32), (32, 4), 2),
    f"lora_unet_{TRANSFORMER}_ff_net_0_proj": ((4, 32), (256, 4), 2),
    f"lora_unet_{TRANSFORMER}_ff_net_2": ((4, 128), (32, 4), 2),
    "lora_unet_down_blocks_0_attentions_0_proj_in": ((4, 32, 1, 1), (32, 4, 1, 1), 2),
    "lora_unet_mid_block_attentions_0_proj_out": ((4, 64, 1, 1), (64, 4, 1, 1), 2),
    "lora_unet_down_blocks_0_resnets_0_conv1": ((2, 32, 3, 3), (32, 2, 1, 1), 3),
    "lora_unet_down_blocks_0_resnets_0_time_emb_proj": ((4, 128), (32, 4), 2),
    "lora_unet_down_blocks_1_resnets_0_conv_shortcut": ((4, 32, 1, 1), (64, 4, 1, 1), 2),
    "lora_unet_down_blocks_0_downsamplers_0_conv": ((2, 32, 3, 3), (32, 2, 1, 1), 3),
    "lora_unet_up_blocks_0_upsamplers_0_conv": ((2, 64, 3, 3), (64, 2, 1, 1), 3),
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj": ((4, 32), (32, 4), 2),
    "lora_te_text_model_encoder_layers_1_self_attn_out_proj": ((4, 32), (32, 4), 2),
    "lora_te_text_model_encoder_layers_1_mlp_fc1": ((4, 32), (64, 4), 2),
}
"""Key: shapes of down and up, and alpha."""


def test_kohya_keys(finished: Job) -> None:
    tensors = load_file(finished.file("adapter.safetensors"))
    modules = {key.partition(".")[0] for key in tensors}
    assert set(tensors) == {f"{m}.{part}" for m in modules for part in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert not [key for key in modules if not key.startswith(("lora_unet_", "lora_te_text_model_encoder_layers_"))]
    for key, (down, up, alpha) in KOHYA_KEYS.items():
        assert tuple(tensors[f"{key}.lora_down.weight"].shape) == down
        assert tuple(tensors[f"{key}.lora_up.weight"].shape) == up
        assert tensors[f"{key}.alpha"].shape == ()
        assert tensors[f"{key}.alpha"].item() == alpha
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_diffusers_keys(finished: Job) -> None:
    keys = set(load_file(finished.file("adapter.diffusers.safetensors")))
    for key in (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.lora_B.weight",
        "unet.down_blocks.1.resnets.0.conv_shortcut.lora_A.weight",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
        "text_encoder.text_model.encoder.layers.1.mlp.fc2.lora_B.weight",
    ):
        assert key in keys
    assert all(key.endswith((".lora_A.weight", ".lora_B.weight")) for key in keys)


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def test_the_header_that_other_tools_read(finished: Job) -> None:
    adapter = finished.adapter()
    path = finished.file("adapter.safetensors")
    metadata = header(path)
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.implementation"] == "diffusers"
    assert metadata["modelspec.title"] == "adapter"
    assert metadata["modelspec.date"] == "2026-01-02T03:04:05"
    assert float(metadata["ss_training_started_at"]) == CREATED.timestamp(), "the job's time, not the clock's"
    assert metadata["modelspec.resolution"] == "64x64"
    assert metadata["modelspec.prediction_type"] == "epsilon"
    assert metadata["modelspec.trigger_phrase"] == "lumi"
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "2.0")
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": "2", "conv_alpha": "3.0"}
    assert (metadata["ss_steps"], metadata["ss_max_train_steps"], metadata["ss_seed"]) == ("6", "6", "7")
    assert (metadata["ss_unet_lr"], metadata["ss_text_encoder_lr"]) == ("0.01", "0.01")
    assert (metadata["ss_base_model_version"], metadata["ss_v2"]) == ("sd_v1", "False")
    assert metadata["ss_num_train_images"] == "4"
    assert json.loads(metadata["ss_bucket_info"]) == {"buckets": {"0": {"resolution": [64, 64], "count": 4}}}
    picture = Image.open(io.BytesIO(base64.b64decode(metadata["modelspec.thumbnail"].partition(",")[2])))
    assert (picture.format, picture.size) == ("JPEG", (64, 64))
    assert tensors_sha256(load_file(path)) == adapter.tensors_sha256
    browsers = "ss_output_name ss_sd_model_name ss_clip_skip ss_resolution ss_dataset_dirs ss_tag_frequency"
    assert set(browsers.split()) <= metadata.keys()


def test_hashes_are_those_that_tools_compute(finished: Job) -> None:
    """Over the file from behind its header on, of each format its own."""
    for name in ("adapter.safetensors", "adapter.diffusers.safetensors"):
        content = finished.file(name).read_bytes()
        behind = content[8 + int.from_bytes(content[:8], "little") :]
        metadata = header(finished.file(name))
        assert metadata["sshs_model_hash"] == hashlib.sha256(behind).hexdigest()
        assert metadata["modelspec.hash_sha256"] == "0x" + metadata["sshs_model_hash"]


CANARY = "canary"
PRIVATE: dict[str, object] = {
    "dataset": {
        "subsets": [
            {
                "path_prefix": f"10_{CANARY}/",
                "captions": {
                    "source": "CAPTION_SOURCE_FILE_OR_FIXED",
                    "text": f"{CANARY} text",
                    "prefix": f"{CANARY} before",
                    "suffix": f"{CANARY} after",
                },
            }
        ]
    },
    "concept": {"prior_preservation": {"captions": [f"a {CANARY}"]}},
    "previews": {"prompts": [{"prompt": f"a {CANARY} in a cage"}]},
}


def metadata_of(config: TrainConfig) -> dict[str, str]:
    provenance = Provenance(
        base_name="shapes",
        base_digest="b" * 64,
        dataset_digest="d" * 64,
        initial_adapter_sha256="",
        family=FamilyFacts("stable-diffusion-v1/lora", "sd_v1", "StableDiffusionPipeline"),
        clip_skip=1,
        prediction_type="v_prediction",
        steps=3,
        total_steps=6,
        epochs=2,
        thumbnail=None,
    )
    layers = drawn_layers(tiny_unet(), "unet", SOME_LAYERS)
    return adapter_metadata(config, provenance, [example(0, f"{CANARY}, red"), example(1, "red")], layers, "c" * 64)


def test_no_caption_stands_in_the_metadata_unless_it_may() -> None:
    kept = metadata_of(config_of(PRIVATE))
    assert CANARY not in json.dumps(kept)
    assert json.loads(kept["loramill_spec"])["adapter"]["rank"] == 4, "the rest of the spec is there"
    assert json.loads(kept["loramill_spec_withheld"]) == [
        "dataset.subsets.path_prefix",
        "dataset.subsets.captions.text",
        "dataset.subsets.captions.prefix",
        "dataset.subsets.captions.suffix",
        "concept.prior_preservation.captions",
        "previews.prompts",
    ]

    told = metadata_of(config_of({**PRIVATE, "outputs": {"captions_in_metadata": True}}))
    assert json.loads(told["ss_tag_frequency"]) == {f"10_{CANARY}": {CANARY: 1, "red": 2}}
    assert json.loads(told["ss_dataset_dirs"]) == {f"10_{CANARY}": {"n_repeats": 1, "img_count": 2}}
    assert f"a {CANARY}" in told["loramill_spec"]
    assert told["loramill_spec_withheld"] == "[]"
    assert told["modelspec.prediction_type"] == "v"
    assert all(isinstance(value, str) for value in told.values())


def test_an_adapter_is_trained_again_from_its_own_file(finished: Job, jobs: Jobs) -> None:
    metadata = header(finished.file("adapter.safetensors"))
    spec = ParseDict(json.loads(metadata["loramill_spec"]), v1.TrainingSpec())
    assignment = finished.assignment
    del assignment.spec.previews.prompts[:]
    assert json.loads(metadata["loramill_spec_withheld"]) == ["previews.prompts"], "which do not shape the adapter"
    assert spec == assignment.spec
    assert metadata["loramill_base_digest"] == assignment.base_model.digest
    assert metadata["loramill_dataset_digest"] == read_manifest(assignment.dataset_manifest_uri).digest
    assert metadata["loramill_code_digest"] == code_digest()

    again = jobs.new("again", json.loads(metadata["loramill_spec"]))
    assert again.run() == 0
    assert again.adapter().tensors_sha256 == finished.adapter().tensors_sha256


def test_the_same_adapter_gives_the_same_bytes(tmp_path: Path) -> None:
    """safetensors itself writes metadata in an order of chance."""
    tensors = {
        "b.alpha": torch.tensor(2.0),
        "a.weight": torch.ones(3, 5),
        "c.weight": torch.zeros(2, dtype=torch.bfloat16),
    }
    metadata = {f"key {number}": "ä" * number for number in range(20)}
    contents = set()
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        write(path, tensors, dict(reversed(metadata.items())) if number % 2 else metadata)
        contents.add(path.read_bytes())
    (content,) = contents
    assert int.from_bytes(content[:8], "little") % 8 == 0, "tensors stay aligned"
    read = load_file(path)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in read.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()
    }
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert header(path) == metadata
    assert content_sha256(tensors) == hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.zeros(2, 3)},
        {"b": torch.ones(2, 3)},
        {"a": torch.ones(3, 2)},
        {"a": torch.ones(2, 3, dtype=torch.bfloat16)},
        {"a": torch.ones(2, 3), "b": torch.ones(1)},
    ],
)
def test_the_digest_is_over_names_types_shapes_and_values(other: dict[str, torch.Tensor]) -> None:
    assert tensors_sha256({"a": torch.ones(2, 3)}) == tensors_sha256({"a": torch.ones(2, 3)})
    assert tensors_sha256({"a": torch.ones(2, 3)}) != tensors_sha256(other)


def test_thumbnails_are_small() -> None:
    picture = Image.open(io.BytesIO(thumbnail(Image.new("RGB", (1024, 512)))))
    assert picture.size == (256, 128)


def test_what_a_finished_job_leaves(finished: Job) -> None:
    adapter = finished.adapter()
    assert (adapter.step, adapter.partial, adapter.rank, adapter.activation_tag) == (6, False, 4, "lumi")
    assert {file.format for file in adapter.files} == {
        v1.ADAPTER_FORMAT_KOHYA,
        v1.ADAPTER_FORMAT_DIFFUSERS,
        v1.ADAPTER_FORMAT_PEFT,
        v1.ADAPTER_FORMAT_CONTACT_SHEET,
        v1.ADAPTER_FORMAT_MODEL_CARD,
        v1.ADAPTER_FORMAT_REPORT,
    }
    for file in adapter.files:
        content = finished.file(file.file_name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)

    assert finished.adapters() == ["000004", "final"]
    numbered = finished.adapter("000004")
    assert (numbered.step, numbered.partial) == (4, False)
    assert v1.ADAPTER_FORMAT_CONTACT_SHEET in {file.format for file in numbered.files}, "step 4 had previews"
    assert numbered.tensors_sha256 != adapter.tensors_sha256
    assert header(finished.file("adapter.safetensors", "000004"))["ss_steps"] == "4"

    previews = sorted(str(path.relative_to(finished.run_folder)) for path in finished.run_folder.glob("previews/*/*"))
    assert previews == [f"previews/{step:07d}/{place:02d}.png" for step in (0, 4, 6) for place in (0, 1)]
    assert list(finished.end.adapters) == [f"zzzzzzzzz0000001-{suffix}" for suffix in ("000004", "final")]
    assert (finished.end.exit_code, finished.end.step) == (v1.EXIT_CODE_SUCCESS, 6)
    assert (finished.progress.phase, finished.progress.step, finished.progress.steps) == (v1.PHASE_ENDED, 6, 6)
    assert [step for chunk in finished.metric_chunks() for step in chunk] == [1, 2, 3, 4, 5, 6]
    assert finished.checkpoints() == ["000-0000002", "000-0000004"]


def test_what_was_found_in_the_data_is_stored_before_training_and_stands_in_the_report(finished: Job) -> None:
    folder = finished.run_folder / "data-report"
    found = json.loads((folder / "report.json").read_text())
    assert [one["code"] for one in found["suggestions"]][-1] == "FEW_PICTURES"
    assert [one["path"] for one in found["pictures"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert found["not_judged"].startswith("The base model was not asked about the pictures: it would take over 10%")
    assert (folder / "report.txt").read_text().startswith("datasets/zzzzzzzzz0000000: 4 pictures")
    assert (folder / "report.html").stat().st_mtime_ns < finished.file("adapter.safetensors").stat().st_mtime_ns
    assert "add: only 4 different pictures." in finished.file("report.html").read_text()
