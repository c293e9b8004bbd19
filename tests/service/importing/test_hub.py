"""Imports from a hub, as a hub may behave; the hub is this test's own, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from loramill import v1
from service.base_imports import BaseImports
from service.caller import Caller
from service.errors import InvalidRequest, NotAvailable, ResourceExists, ServiceError
from service.importing import hub as _hub_is_slow_to_import  # noqa: F401 (else the first test would wait for it)
from service.importing.settings import ImportSettings
from service.keys import BaseKeys
from store.files import FileStore
from tests.service.api.tiny_base import UNET, write_base, write_safetensors
from tests.service.importing.fake_hub import Hub, running_hub
from tests.service.importing.imports import imports_of

CALLER = Caller("local", "test", "/test", "call")
COMMIT = "a" * 40
UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub, stamina.set_testing(True, attempts=3):
        yield hub


def imports(hub: Hub, tmp_path: Path, token: str = "", largest: int = 1 << 30) -> BaseImports:
    settings = ImportSettings(hub_endpoint=hub.endpoint, hub_token=token, largest=largest)
    return imports_of(FileStore(tmp_path / "store"), tmp_path / "work", settings)


def request(source: str = "hf://art/base", **fields: str) -> v1.ImportBaseModelRequest:
    return v1.ImportBaseModelRequest(base_model_id="mine", source_uri=source, **fields)


def refused(imports: BaseImports, source: str = "hf://art/base", **fields: str) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        imports.import_(CALLER, request(source, **fields))
    return raised.value


def reason(error: ServiceError) -> str:
    return error.violations[0].reason if isinstance(error, InvalidRequest) else error.reason


def test_a_repository_is_imported_at_the_commit_that_its_branch_stood_for(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base", fill=1.0))
    hub.repositories["art/base"].files |= {"unet/diffusion_pytorch_model.bin": b"x", "README.md": b"x", "x.ckpt": b"x"}
    service = imports(hub, tmp_path)
    base = service.import_(CALLER, request())
    assert (base.source_uri, base.license, base.family) == (f"hf://art/base@{COMMIT}", "openrail++", "sd15")
    assert base.state == v1.BASE_MODEL_STATE_READY
    assert any("2 pickles were left out" in note for note in base.notes)
    stored = service.store.get(BaseKeys("mine").files + UNET_FILE)
    assert stored == hub.repositories["art/base"].files[UNET_FILE]
    asked = [path.split(f"resolve/{COMMIT}/")[1] for path in hub.asked("hub", "HEAD")]
    assert "README.md" not in asked
    assert not any(path.endswith((".bin", ".ckpt")) for path in asked)
    assert list((tmp_path / "work/downloads").iterdir()) == []
    # The same commit again is known without a single file of it; another under the same id is refused.
    hub.requests.clear()
    assert service.import_(CALLER, request(f"hf://art/base@{COMMIT}")).digest == base.digest
    assert hub.asked("cdn", "GET") == []
    hub.add_folder("art/base", write_base(tmp_path / "base", fill=2.0), commit="b" * 40)
    assert isinstance(refused(service), ResourceExists)
    assert service.bases.get("mine").last_import.state == v1.BASE_MODEL_IMPORT_STATE_FAILED
    assert service.bases.find("mine") is not None


def test_revisions_subfolders_and_licences(hub: Hub, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "repository/models/one")
    repository = hub.add_folder("art/base", tmp_path / "repository", license=None)
    repository.refs = {"refs/pr/1": "c" * 40}
    service = imports(hub, tmp_path)
    assert reason(refused(service)) == "NOT_FOUND"
    assert reason(refused(service, "hf://art/base@refs%2Fpr%2F1/models/two")) == "NOT_FOUND"
    base = service.import_(CALLER, request("hf://art/base@refs%2Fpr%2F1/models/one"))
    assert base.source_uri == f"hf://art/base@{'c' * 40}/models/one"
    assert base.license == ""
    assert any("no licence" in note for note in base.notes)
    assert folder.is_dir()


def test_the_token_goes_to_the_hub_alone(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"), token="secret")
    error = refused(imports(hub, tmp_path))
    assert (reason(error), "token" in error.message) == ("ACCESS_REFUSED", True)
    assert imports(hub, tmp_path, "secret").import_(CALLER, request()).family == "sd15"
    assert {token for server, _, _, token in hub.requests if server == "cdn"} == {None}


def test_a_gated_repository_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"), gated=True)
    error = refused(imports(hub, tmp_path))
    assert (reason(error), "accept its conditions" in error.message) == ("ACCESS_REFUSED", True)


def test_a_repository_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    assert reason(refused(imports(hub, tmp_path))) == "ACCESS_REFUSED"  # the hub does not tell which of the two it is
    assert reason(refused(imports(hub, tmp_path, "secret"))) == "NOT_FOUND"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"))
    hub.failures = [("/api/models", status), ("model_index.json", status)]
    assert imports(hub, tmp_path).import_(CALLER, request()).family == "sd15"
    assert hub.failures == []


def test_a_hub_that_stays_busy_is_given_up_and_what_came_is_used_later(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"))
    hub.failures = [("text_encoder/model.safetensors", 500)] * 9
    service = imports(hub, tmp_path)
    error = refused(service)
    assert isinstance(error, NotAvailable)
    assert (error.reason, "500" in error.message) == ("SOURCE_UNAVAILABLE", True)
    assert service.bases.get("mine").state == v1.BASE_MODEL_STATE_FAILED
    hub.failures, before = [], len(hub.asked("cdn", "GET"))
    assert service.import_(CALLER, request()).state == v1.BASE_MODEL_STATE_READY
    assert before == 2
    assert len(hub.asked("cdn", "GET")) == 3  # two of the three files of weights were there


def test_a_download_that_breaks_off_goes_on_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    repository = hub.add_folder("art/base", write_base(tmp_path / "base", fill=1.0))
    hub.truncations[UNET_FILE] = 100
    service = imports(hub, tmp_path)
    service.import_(CALLER, request())
    assert service.store.get(BaseKeys("mine").files + UNET_FILE) == repository.files[UNET_FILE]
    assert len([path for path in hub.asked("cdn", "GET") if path.endswith(UNET_FILE)]) == 2


def test_a_file_with_another_content_than_was_listed_is_refused(hub: Hub, tmp_path: Path) -> None:
    repository = hub.add_folder("art/base", write_base(tmp_path / "base", fill=1.0))
    hub.overrides[UNET_FILE] = repository.files[UNET_FILE][:-1] + b"x"
    error = refused(imports(hub, tmp_path))
    assert "another digest" in error.message
    hub.overrides[UNET_FILE] = repository.files[UNET_FILE] + b"x"
    assert imports(hub, tmp_path).bases.find("mine") is None
    assert isinstance(refused(imports(hub, tmp_path)), ServiceError)


def test_a_repository_that_changes_under_us_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"))
    hub.moved_to = "d" * 40
    assert reason(refused(imports(hub, tmp_path))) == "SOURCE_CHANGED"


def test_names_that_climb_are_never_asked_for(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"))
    hub.extra_names = ["../../escaped.safetensors", "/etc/passwd", "unet/../../x.json", "tokenizer/../../../vocab.json"]
    service = imports(hub, tmp_path)
    service.import_(CALLER, request())
    assert not any(".." in path or "passwd" in path for path in hub.asked("hub", "HEAD"))
    assert not list(tmp_path.rglob("escaped.safetensors"))


def test_more_than_the_operator_allows_is_refused_before_a_file_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("art/base", write_base(tmp_path / "base"))
    error = refused(imports(hub, tmp_path, largest=1000))
    assert (reason(error), "1000" in error.message) == ("TOO_LARGE", True)
    assert hub.asked("hub", "HEAD") == []


def test_half_size_files_are_taken_where_they_are_asked_for_or_alone(hub: Hub, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", fill=1.0)
    for part in ("unet", "vae"):
        write_safetensors(folder / part / "diffusion_pytorch_model.fp16.safetensors", UNET, 2.0)
    half = folder / "text_encoder/model.fp16.safetensors"
    (folder / "text_encoder/model.safetensors").rename(half)
    repository = hub.add_folder("art/base", folder)
    service = imports(hub, tmp_path)
    base = service.import_(CALLER, request())
    files = BaseKeys("mine").files
    assert service.store.get(files + UNET_FILE) == repository.files[UNET_FILE]
    assert service.store.get(files + "text_encoder/model.safetensors") == half.read_bytes()
    assert any("text_encoder/model.fp16.safetensors was taken" in note for note in base.notes)
    other = v1.ImportBaseModelRequest(base_model_id="half", source_uri="hf://art/base", variant="fp16")
    service.import_(CALLER, other)
    files = BaseKeys("half").files
    assert service.store.get(files + UNET_FILE) == repository.files["unet/diffusion_pytorch_model.fp16.safetensors"]
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert service.store.get(files + vae) == repository.files[vae]


def test_a_wrong_single_file_is_refused_by_its_header_alone(hub: Hub, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "it.safetensors", {"model.diffusion_model.x": (1000, 1000)})
    content = (tmp_path / "it.safetensors").read_bytes()
    hub.add("art/base", {"it.safetensors": content}, token="secret")
    service = imports(hub, tmp_path, "secret")
    error = refused(service)
    assert "The text encoder is missing" in str(getattr(error, "violations", ""))
    assert hub.sent < 10_000 < len(content)
    assert {token for server, _, _, token in hub.requests if server == "cdn"} == {None}
    write_safetensors(tmp_path / "it.safetensors", {"model.diffusion_model.x": (10, 10)})
    hub.add("art/base", {"it.safetensors": (tmp_path / "it.safetensors").read_bytes()[:50]}, token="secret")
    assert "header does not fit" in refused(service).message


def test_an_answer_that_is_no_hubs(tmp_path: Path) -> None:
    settings = ImportSettings(hub_endpoint="http://127.0.0.1:9")
    with stamina.set_testing(True, attempts=2):
        error = refused(imports_of(FileStore(tmp_path / "store"), tmp_path / "work", settings))
    assert (error.reason, "127.0.0.1:9" in error.message) == ("SOURCE_UNAVAILABLE", True)
