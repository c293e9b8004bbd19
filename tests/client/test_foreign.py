"""Configurations of other trainers as specs: what each key becomes, and that none is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from loramill import v1
from loramill.errors import SpecError
from loramill.foreign.companions import parse_prompt
from loramill.foreign.draft import Draft
from loramill.foreign.fields import set_field
from loramill.foreign.importing import import_configuration
from loramill.foreign.page import page
from loramill.foreign.reading import PROGRAMS, read_configuration
from loramill.foreign.writing import spec_file
from loramill.plain import to_plain
from loramill.spec import read_spec
from tests.client.conftest import Loramill

EXAMPLES = {
    path.stem: (path.name, path.read_text()) for path in sorted((Path(__file__).parent / "foreign_examples").iterdir())
}
"""A configuration of each program, as their users write them."""


def imported(name: str, text: str) -> Draft:
    return import_configuration(*read_configuration(name, text))


def kohya(arguments: str) -> Draft:
    return imported("run.sh", f"accelerate launch train_network.py {arguments}")


def at(draft: Draft, path: str) -> object:
    """The value at a path of the spec, as spec files have it; None where it is not set."""
    value: object = to_plain(draft.spec)
    for part in path.replace("]", "").replace("[", ".").split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def verdicts(draft: Draft, key: str) -> set[str]:
    return {outcome.verdict for outcome in draft.outcomes if outcome.key == key}


@pytest.mark.parametrize(
    ("arguments", "path", "expected"),
    [
        ("--max_train_epochs 10 --max_train_steps 99", "optimization.epochs", 10),
        ("", "optimization.steps", 1600),
        ("", "adapter", {"type": "lora", "rank": 4, "alpha": 1.0, "targets": "transformer"}),
        ("--network_dim 16", "adapter.alpha", 1.0),
        ("--network_dim 16 --network_alpha 0", "adapter.alpha", 16.0),
        ("--network_args conv_dim=8 conv_alpha=4", "adapter.conv_rank", 8),
        ("--network_args conv_dim=8", "adapter.type", "locon"),
        ("--network_args conv_dim=8", "adapter.conv_alpha", 1.0),
        ("--network_module lycoris.kohya", "adapter.type", "locon"),
        ("--network_module lycoris.kohya --network_dim 8 --network_alpha 2", "adapter.conv_alpha", 2.0),
        ("--network_module lycoris.kohya --network_args algo=lora preset=attn-mlp", "adapter.type", "lora"),
        ("--network_module lycoris.kohya --network_args algo=loha preset=attn-mlp", "adapter.targets", "attention_mlp"),
        ("--network_module lycoris.kohya --network_args algo=lokr factor=8 full_matrix=True", "adapter.lokr.factor", 8),
        ("--network_module lycoris.kohya --network_dim 10000 --network_args algo=lokr", "adapter.lokr.full_matrix", True),
        ("--network_module lycoris.kohya --network_dim 10000 --network_args algo=lokr", "adapter.rank", None),
        ("--network_module lycoris.kohya --network_args algo=dylora block_size=2", "adapter.dylora.unit", 2),
        ("--network_module networks.dylora --network_args unit=4", "adapter.dylora.unit", 4),
        ("--network_args rank_dropout=0.1 loraplus_lr_ratio=16", "adapter.lora_plus_ratio", 16.0),
        ("--learning_rate 1e-4", "unet.learning_rate", 1e-4),
        ("--learning_rate 1e-4 --unet_lr 2e-4", "unet.learning_rate", 2e-4),
        ("--learning_rate 1e-4 --unet_lr 2e-4", "text_encoder.learning_rate", 1e-4),
        ("--text_encoder_lr 0", "text_encoder.train", False),
        ("--text_encoder_lr 1e-5 2e-5", "text_encoder_2.learning_rate", 2e-5),
        ("--network_train_unet_only", "text_encoder", {"train": False}),
        ("--network_train_text_encoder_only", "unet.train", False),
        ("--optimizer_type AdamW8bit", "optimization.optimizer", "adamw_8bit"),
        ("--use_lion_optimizer", "optimization.optimizer", "lion"),
        ("--optimizer_args weight_decay=0.1 betas=0.9,0.99", "optimization.beta2", 0.99),
        ("--lr_scheduler cosine_with_restarts", "optimization.schedule", "cosine"),
        ("--lr_scheduler cosine_with_restarts --lr_scheduler_num_cycles 3", "optimization.schedule_cycles", 3),
        ("--lr_scheduler constant --lr_warmup_steps 100", "optimization.warmup_steps", 0),
        ("--lr_scheduler constant_with_warmup --lr_warmup_steps 100", "optimization.warmup_steps", 100),
        ("--lr_scheduler cosine --lr_warmup_steps 0.1", "optimization.warmup_steps", None),
        ("--resolution 768,512", "dataset.resolution", 640),
        ("--bucket_no_upscale", "dataset.upscale", False),
        ("--flip_aug", "dataset.flip_probability", 0.5),
        ("--keep_tokens 2 --shuffle_caption", "dataset.subsets[0].captions.keep_tags", 2),
        ("--min_snr_gamma 5", "loss.min_snr_gamma", 5.0),
        ("", "loss.min_snr_gamma", 0.0),
        ("--noise_offset=0.05", "noise.offset", 0.05),
        ("--loss_type huber --huber_schedule exponential", "loss.threshold_schedule", "exponential"),
        ("", "loss.threshold", None),
        ("--mixed_precision bf16", "optimization.precision", "bf16"),
        ("--output_name 'my cat.safetensors'", "outputs.name", "my-cat"),
        ("--max_token_length=225", "text.max_tokens", 225),
    ],
)  # fmt: skip
def test_kohya_means(arguments: str, path: str, expected: object) -> None:
    assert at(kohya(arguments), path) == expected


@pytest.mark.parametrize(
    ("arguments", "key", "says"),
    [
        ("--color_aug", "color_aug", "colours are never changed"),
        ("--optimizer_type DAdaptAdam", "optimizer_type", "nearest is optimization.optimizer: prodigy"),
        ("--optimizer_args d_coef=2", "optimizer_args", "d_coef=2"),
        ("--network_module lycoris.kohya --network_args algo=boft", "network_args", "algo=boft is not trained"),
        ("--network_args dora_wd=True", "network_args", "DoRA is not trained"),
        ("--network_module networks.oft", "network_module", "nearest is adapter.type: lora"),
        ("--lr_warmup_steps 0.1 --lr_scheduler cosine", "lr_warmup_steps", "of all steps, which are not known"),
        ("--save_every_n_epochs 1", "save_every_n_epochs", "outputs.save_every"),
        ("--network_dimm 3", "network_dimm", "the nearest is network_dim"),
    ],
)
def test_what_is_not_supported_is_named_with_the_nearest(arguments: str, key: str, says: str) -> None:
    draft = kohya(arguments)
    assert verdicts(draft, key) & {"unsupported", "unknown"}
    assert any(says in outcome.says for outcome in draft.outcomes if outcome.key == key)
    assert says in spec_file(draft, "run.sh")


def test_what_asks_for_nothing_is_no_loss() -> None:
    draft = kohya("--caption_dropout_every_n_epochs 0 --scale_weight_norms 0 --adaptive_noise_scale 0")
    assert not {outcome.verdict for outcome in draft.outcomes} & {"unsupported", "unknown"}


def test_true_is_not_one() -> None:
    draft = imported(
        "a.json",
        '{"training_method": "LORA", "optimizer": {"cautious": true, "factored": true, "split_groups": false}}',
    )
    assert verdicts(draft, "optimizer.cautious") == {"unsupported"}
    assert verdicts(draft, "optimizer.factored") == {"off"}
    assert verdicts(draft, "optimizer.split_groups") == {"unsupported"}


def test_triggers_of_datasets_are_concepts() -> None:
    text = "config: {process: [{trigger_word: ann, datasets: [{folder_path: a}, {folder_path: b, trigger_word: bob}]}]}"
    draft = imported("a.yaml", text)
    assert (at(draft, "concept.activation_tag"), at(draft, "concepts[0].activation_tag")) == ("ann", "bob")
    assert (at(draft, "dataset.subsets[0].concept"), at(draft, "dataset.subsets[1].concept")) == (None, "bob")


def test_what_only_the_user_can_name_is_left_to_them() -> None:
    draft = kohya("--network_weights old.safetensors --train_data_dir img")
    assert verdicts(draft, "network_weights") == verdicts(draft, "train_data_dir") == {"left"}
    assert "upload the file" in spec_file(draft, "run.sh")


@pytest.mark.parametrize(
    ("example", "path", "expected"),
    [
        ("ai-toolkit", "adapter.type", "locon"),
        ("ai-toolkit", "adapter.conv_alpha", 4.0),
        ("ai-toolkit", "concept.activation_tag", "p3r5on"),
        ("ai-toolkit", "dataset.resolution", 768),
        ("ai-toolkit", "dataset.subsets[1].path_prefix", "reg/"),
        ("ai-toolkit", "dataset.subsets[1].class_images", True),
        ("ai-toolkit", "optimization.ema_decay", 0.99),
        ("ai-toolkit", "previews.prompts[0]", {"prompt": "[tag] in a forest", "negative_prompt": "blurry", "seed": 42}),
        ("ai-toolkit", "previews.prompts[1].seed", 43),
        ("onetrainer", "adapter.type", "lora"),
        ("onetrainer", "dataset.subsets[0].repeats", 10),
        ("onetrainer", "dataset.crop", "random"),
        ("onetrainer", "loss.min_snr_gamma", 5.0),
        ("onetrainer", "clip_skip", 1),
        ("onetrainer", "text_encoder", {"train": False}),
        ("onetrainer", "previews.prompts[0].prompt", "a cat"),
        ("diffusers", "adapter", {"type": "lora", "rank": 4, "alpha": 4.0, "targets": "attention"}),
        ("diffusers", "concept.activation_tag", "sks"),
        ("diffusers", "concept.class_words", "dog"),
        ("diffusers", "dataset.subsets[0].captions.text", "a photo of dog"),
        ("diffusers", "concept.prior_preservation.images", 100),
        ("diffusers", "optimization.steps", 500),
    ],
)  # fmt: skip
def test_the_other_programs_mean(example: str, path: str, expected: object) -> None:
    assert at(imported(*EXAMPLES[example]), path) == expected


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_key_has_an_outcome_and_the_file_is_a_spec(example: str) -> None:
    name, text = EXAMPLES[example]
    program, values = read_configuration(name, text)
    draft = import_configuration(program, values)
    given = {key for key, value in values.items() if value is not None}
    assert given <= {outcome.key for outcome in draft.outcomes}
    written = spec_file(draft, name)
    assert read_spec(written) == draft.spec
    assert yaml.safe_load(written)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_row_names_a_field_that_exists_and_takes_its_default(program) -> None:
    keys = [row.key for row in program.rows]
    assert len(keys) == len(set(keys))
    for row in program.rows:
        if row.to:
            assert _exists(row.to), row
        if row.to and row.default is not None and not row.combined:
            value = row.convert(row.default) if row.convert else row.default
            set_field(v1.TrainingSpec(), row.to.replace("[]", "[0]"), value)
        assert row.to or row.says, row


def _exists(path: str) -> bool:
    group = v1.TrainingSpec.DESCRIPTOR
    for part in path.replace("[]", "").replace("[0]", "").split("."):
        field = group.fields_by_name.get(part)
        if field is None:
            return False
        group = field.message_type or group
    return True


def test_the_page_is_up_to_date() -> None:
    """Made anew with `python -m loramill.foreign.page > docs/foreign-configurations.md`."""
    assert (Path(__file__).parents[2] / "docs/foreign-configurations.md").read_text() == page()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.toml", "[[datasets]]\n", "is a dataset configuration"),
        ("a.toml", "a = ", "is not TOML"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"LoRA_type": "Standard"}', "no configuration of OneTrainer"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "a: 1", "no configuration of ai-toolkit"),
        ("a.sh", "python flux_train_network.py --x 1", "which is not read"),
        ("a.sh", "hello", "has no arguments"),
        ("a.sh", "train_network.py --a 'b", "is no command line"),
    ],
)
def test_what_is_none_of_these(name: str, text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_configuration(name, text)


def test_command_lines_as_shells_read_them() -> None:
    lines = [
        "set RATE=2e-4",
        "rem --unet_lr 9",
        "launch sdxl_train_network.py ^",
        " --unet_lr=%RATE% ^",
        " --network_args a=1 b=2 --xformers",
    ]
    text = "\n".join(lines)
    _, values = read_configuration("run.bat", text)
    assert values == {
        "script": "sdxl_train_network.py", "unet_lr": 2e-4, "network_args": ["a=1", "b=2"], "xformers": True,
    }  # fmt: skip


def test_sdxl_has_two_text_encoders_and_its_own_clip_skip() -> None:
    both = imported("run.sh", "sdxl_train_network.py --learning_rate 1e-4 --text_encoder_lr 1e-5")
    assert at(both, "text_encoder") == at(both, "text_encoder_2") == {"train": True, "learning_rate": 1e-5}
    assert at(both, "clip_skip") is None
    one = imported("run.sh", "sdxl_train_network.py --network_train_unet_only")
    assert at(one, "text_encoder_2") is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a cat", {"prompt": "a cat"}),
        ("a cat --n ugly, blurry --d 7 --l 7.5 --s 30 --w 512 --h 768",
         {"prompt": "a cat", "negative_prompt": "ugly, blurry", "seed": 7, "guidance_scale": 7.5, "inference_steps": 30.0}),
        ("# a comment", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_prompts_of_kohya(line: str, expected: dict[str, object]) -> None:
    assert parse_prompt(line) == expected


def test_files_that_a_configuration_names_are_read_with_it(loramill: Loramill, tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("train_network.py --config_file conf --unet_lr 2e-4 --sample_prompts=prompts.txt")
    (tmp_path / "conf.toml").write_text("[a]\nnetwork_dim = 12\nunet_lr = 9.0\n")
    (tmp_path / "prompts.txt").write_text("a cat --d 3\n\na dog\n")
    spec = read_spec(loramill("job", "import", str(tmp_path / "run.sh")).out)
    assert (spec.adapter.rank, spec.unet.learning_rate) == (12, 2e-4)
    assert [(prompt.prompt, prompt.seed) for prompt in spec.previews.prompts] == [("a cat", 3), ("a dog", 0)]
    (tmp_path / "one.json").write_text('{"training_method": "LORA", "concept_file_name": "c.json"}')
    (tmp_path / "c.json").write_text('[{"path": "/x/cat", "balancing": 3}]')
    spec = read_spec(loramill("job", "import", str(tmp_path / "one.json")).out)
    assert spec.dataset.subsets[0].repeats == 3


def test_the_command_writes_a_spec_and_never_over_a_file(loramill: Loramill, tmp_path: Path) -> None:
    name, text = EXAMPLES["kohya"]
    (tmp_path / name).write_text(text)
    out = tmp_path / "job.yaml"
    result = loramill("job", "import", str(tmp_path / name), "--out", str(out))
    assert result.code == 0
    assert "UNKNOWN:\n  no_such_key = 3" in result.err
    assert "# Left for you:\n# - base_model: name an imported base" in out.read_text()
    assert loramill("job", "import", str(tmp_path / name), "--out", str(out)).code == 2
    assert read_spec(loramill("job", "import", str(tmp_path / name)).out) == read_spec(out.read_text())


@pytest.mark.parametrize("key", ["learning_rate", "network_dim"])
def test_a_word_in_the_place_of_a_number_is_named(key: str) -> None:
    with pytest.raises(SpecError, match=f"{key} is 'fast', but must be a number"):
        imported("x.toml", f'network_module = "networks.lora"\n{key} = "fast"\n')
