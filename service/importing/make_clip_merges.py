"""Makes vocabulary/clip_merges.txt.xz from the file `bpe_simple_vocab_16e6.txt.gz` in OpenCLIP's wheel (open_clip_torch, MIT).

    python -m service.importing.make_clip_merges bpe_simple_vocab_16e6.txt.gz

The file lists far more merges than CLIP was trained with: of its 49,408 tokens 512 are bytes and two mark the ends.
"""

from __future__ import annotations

import gzip
import lzma
import sys
from pathlib import Path

from service.importing.clip_vocabulary import MERGES, MERGES_FILE

_HEADER = "#version: 0.2"


def main(source: Path) -> None:
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")
    merges = [_HEADER, *lines[1 : MERGES + 1]]
    content = ("\n".join(merges) + "\n").encode()
    MERGES_FILE.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
