from __future__ import annotations

from pathlib import Path

from service.lease import FileLease


def test_one_of_two_holds_it_until_it_lets_go(tmp_path: Path) -> None:
    first, second = FileLease(tmp_path / "data" / "lease"), FileLease(tmp_path / "data" / "lease")
    assert first.held()
    assert not second.held()
    assert first.held()
    first.release()
    first.release()
    assert second.held()
    assert not first.held()
    second.release()
