"""What cannot be trained on, or goes wrong: the exit code of its kind, and an End that names the thing and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from safetensors.torch import load_file, save_file

from loramill import v1
from store import ObjectStore, StoreUnavailable
from store.files import FileStore
from tests.trainer.jobs import Job, Jobs, small_dataset
from tests.trainer.tiny_base import tiny_unet
from trainer import assignment, run
from trainer.__main__ import main
from trainer.loop import Training

QUICK: dict[str, object] = {"previews": {"inference_steps": 1}}


def ended(job: Job, exit_code: int) -> str:
    """Runs a job that must end so; the sentence that it ends with."""
    assert job.run() == exit_code
    assert job.end.exit_code == exit_code
    return job.end.message


def test_a_loss_that_is_no_number_names_step_and_picture(jobs: Jobs) -> None:
    change = {"unet": {"learning_rate": 1e30}, "optimization": {"schedule": "SCHEDULE_CONSTANT"}, **QUICK}
    job = jobs.new("diverged", change)
    said = ended(job, v1.EXIT_CODE_DIVERGED)
    assert any(f"'{number}.png'" in said for number in range(4))
    assert "at step 2" in said or "at step 3" in said
    assert "lower the learning rate" in said
    assert not job.adapters()
    assert job.end.step < 3


def test_after_the_deadline_there_is_a_partial_adapter(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAMILL_TRAINER_REPORT_SECONDS", "1000")
    job = jobs.new("late", {"deadline": "0.000001s", **QUICK})
    said = ended(job, v1.EXIT_CODE_DEADLINE_EXCEEDED)
    assert "at step 1 of 6" in said
    adapter = job.adapter()
    assert (adapter.partial, adapter.step, job.end.step) == (True, 1, 1)
    assert job.end.trained_seconds > 0


def test_every_problem_of_the_data_is_told_at_once(jobs: Jobs) -> None:
    files = small_dataset()
    files["1.png"] = files["1.png"][:-30]
    del files["2.txt"]
    jobs.place.put_dataset("bad", files)
    said = ended(jobs.new("bad data", dataset="bad"), v1.EXIT_CODE_USER_ERROR)
    assert "1.png" in said
    assert "2.png" in said
    assert "0.png" not in said


def test_an_unknown_family(jobs: Jobs) -> None:
    said = ended(jobs.new("family", family="sd99"), v1.EXIT_CODE_USER_ERROR)
    assert "'sd99'" in said
    assert "sd15" in said


def test_what_this_trainer_cannot_do(jobs: Jobs) -> None:
    change = {"adapter": {"type": 99}, "dataset": {"crop": 99}}
    said = ended(jobs.new("unsupported", change), v1.EXIT_CODE_OUTDATED)
    assert "adapter.type" in said
    assert "dataset.crop" in said


def put_base(jobs: Jobs, base: Path, name: str, change: Callable[[Path], None]) -> None:
    """A copy of `base`, changed before it is imported."""
    folder = copytree(base, jobs.place.folder / f"made {name}")
    change(folder)
    jobs.place.put_base(name, folder)


def test_a_base_that_was_damaged_in_the_store(jobs: Jobs, tiny_base: Path) -> None:
    jobs.place.put_base("damaged", tiny_base)
    path = jobs.place.folder / "bases/damaged/unet/diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said = ended(jobs.new("damaged base", base="damaged"), v1.EXIT_CODE_USER_ERROR)
    assert "unet/diffusion_pytorch_model.safetensors" in said
    assert "import it again" in said


def without_a_tensor(folder: Path) -> None:
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["mid_block.attentions.0.proj_in.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def without_text_encoder_tensor(folder: Path) -> None:
    path = folder / "text_encoder/model.safetensors"
    tensors = load_file(path)
    del tensors["text_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def without_vae(folder: Path) -> None:
    for path in (folder / "vae").iterdir():
        path.unlink()


def not_safetensors(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/diffusion_pytorch_model.bin")


def of_another_shape(folder: Path) -> None:
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["quant_conv.weight"] = tensors["quant_conv.weight"][:4].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


def other_schedule(folder: Path) -> None:
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(path.read_text().replace("scaled_linear", "squaredcos_cap_v2"))


def for_inpainting(folder: Path) -> None:
    tiny_unet(in_channels=9).save_pretrained(folder / "unet")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without_a_tensor, "mid_block.attentions.0.proj_in.weight"),
        (without_text_encoder_tensor, "layers.1.mlp.fc1.weight"),
        (without_vae, "vae"),
        (not_safetensors, "unet"),
        (of_another_shape, "vae"),
        (other_schedule, "squaredcos_cap_v2"),
        (for_inpainting, "UNet takes 9 channels"),
    ],
)
def test_a_base_that_is_not_whole(change: Callable[[Path], None], named: str, jobs: Jobs, tiny_base: Path) -> None:
    name = change.__name__
    put_base(jobs, tiny_base, name, change)
    said = ended(jobs.new(f"base {name}", base=name), v1.EXIT_CODE_USER_ERROR)
    assert named in said
    assert "base" in said


def test_a_base_with_a_rescaled_schedule_is_trained_on_as_it_is(
    jobs: Jobs, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rescaled(folder: Path) -> None:
        path = folder / "scheduler/scheduler_config.json"
        path.write_text(path.read_text().replace('"rescale_betas_zero_snr": false', '"rescale_betas_zero_snr": true'))

    put_base(jobs, tiny_base, "rescaled", rescaled)
    last: list[float] = []

    def look(training: Training, *_: object) -> float:
        last.append(float(training.base.alphas_cumprod[-1]))
        raise StoreUnavailable("seen enough")

    monkeypatch.setattr(run, "train", look)
    assert jobs.new("rescaled", QUICK, base="rescaled").run() == v1.EXIT_CODE_STORAGE
    assert last == [0.0]


def test_a_store_that_cannot_be_read(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(store: ObjectStore, key: str, _: Path) -> None:
        raise StoreUnavailable(f"{store.uri}{key} could not be used: no answer")

    monkeypatch.setattr(FileStore, "fetch", refuse)
    said = ended(jobs.new("unreadable"), v1.EXIT_CODE_STORAGE)
    assert "could not be used: no answer" in said


def test_a_store_that_cannot_be_written_any_more(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be recorded then; exit code, log and, in a cluster, the container's last word are all that can tell."""
    job = jobs.new("unwritable", QUICK)

    def refuse(*_: object) -> None:
        raise StoreUnavailable("file:///x could not be used: no space left")

    claim = run.RunRecord.claim

    def claim_and_fill_the_disk(record: run.RunRecord) -> None:
        claim(record)
        monkeypatch.setattr(FileStore, "put_new", refuse)
        monkeypatch.setattr(FileStore, "put_status", refuse)

    monkeypatch.setattr(run.RunRecord, "claim", claim_and_fill_the_disk)
    listens = tmp_path / "termination-log"
    listens.touch()
    monkeypatch.setattr(assignment, "TERMINATION_LOG", listens)
    assert job.run() == v1.EXIT_CODE_STORAGE
    said = capfd.readouterr().err
    assert "no space left" in said
    assert "no space left" in listens.read_text()
    assert "Traceback" not in said
    assert not (job.run_folder / "end.json").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["file:///nowhere/a.json", "b"], ["file:///nowhere/a.json"], ["gopher://x/y"]]
)
def test_no_assignment(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    listens = tmp_path / "termination-log"
    listens.touch()
    monkeypatch.setattr(assignment, "TERMINATION_LOG", listens)
    assert main(arguments) != 0
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert "Usage" in said or "no assignment" in said or "gopher" in said
    assert bool(listens.read_text()) == (len(arguments) == 1)


def test_a_bug_is_told_as_ours_with_its_traceback(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(run, "read_config", broken)
    job = jobs.new("bug")
    assert "ZeroDivisionError: of all things" in ended(job, v1.EXIT_CODE_BUG)
    assert "Traceback" in job.log()
