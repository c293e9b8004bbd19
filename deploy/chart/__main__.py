"""`python -m deploy.chart`: writes what is derived of the chart. `--check` only tells whether all of it is up to date."""

from __future__ import annotations

import sys

from deploy.chart.derived import derived


def main(arguments: list[str]) -> int:
    stale = [path for path, content in derived().items() if not path.is_file() or path.read_text() != content]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path} is not what its source says; run python -m deploy.chart")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(derived()[path])
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
