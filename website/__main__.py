"""`python -m website [FOLDER]` builds the site, by default into site_out; `python -m website pages` writes anew what
pages of docs/ have from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from website.generated import write_all
from website.rendering import ROOT, NotBuilt, build


def main(words: list[str]) -> None:
    if words == ["pages"]:
        print(f"written: {', '.join(write_all(ROOT)) or 'nothing, all is up to date'}")
        return
    into = Path(words[0]) if words else ROOT / "site_out"
    try:
        count = build(into)
    except NotBuilt as error:
        sys.exit(str(error))
    print(f"{count} pages: {into / 'index.html'}")


if __name__ == "__main__":
    main(sys.argv[1:])
