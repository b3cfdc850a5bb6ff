"""Make the font files of `hashseal_core.fonts` from the originals: fewer characters, no hints.

Usage: tools/fonts.py FOLDER, where the folder holds, unpacked, the Debian packages fonts-noto-cjk
and fonts-noto-core and the npm package @fontsource/great-vibes (docs/decisions/0035). Needs Brotli
beside what the environment has. The outlines are not changed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fontTools.merge import Merger
from fontTools.subset import Options, Subsetter, load_font, save_font
from fontTools.ttLib import TTFont

TARGET = Path(__file__).parent.parent / "packages/hashseal-core/src/hashseal_core/fonts"
EUROPE = [
    *range(0x20, 0x7F), *range(0xA0, 0x250), *range(0x2B0, 0x300), *range(0x370, 0x530),
    *range(0x1E00, 0x2000), *range(0x2010, 0x2060), *range(0x2070, 0x20D0), *range(0x2100, 0x2200),
]  # fmt: skip
HANGUL = [*range(0x1100, 0x1200), *range(0x3130, 0x3190), *range(0xA960, 0xA980),
          *range(0xAC00, 0xD800)]  # fmt: skip


def options(**more: object) -> Options:
    """Outlines and advances, the names with the licence; nothing for screens or shaping."""
    chosen = Options(
        hinting=False, layout_features=[], glyph_names=False, notdef_outline=True,
        name_IDs=["*"], desubroutinize=False, **more,
    )  # fmt: skip
    chosen.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "VORG", "vhea", "vmtx", "DSIG", "STAT"]
    return chosen


def reduce(source: Path, target: Path, keep: object, number: int = -1) -> None:
    """One font with the characters that `keep` says, of those that it has."""
    chosen = options(font_number=number)
    font = load_font(str(source), chosen)
    subsetter = Subsetter(chosen)
    subsetter.populate(unicodes=[one for one in font.getBestCmap() if keep(one)])  # type: ignore[operator]
    subsetter.subset(font)
    save_font(font, str(target), chosen)
    print(f"{target.name}: {len(font.getBestCmap())} characters, {target.stat().st_size} octets")


def find(folder: Path, name: str) -> Path:
    """The file of this name below the folder."""
    found = next(folder.rglob(name), None)
    if found is None:
        sys.exit(f"{folder} holds no {name}")
    return found


def script(folder: Path, target: Path) -> None:
    """One font of the parts that the package has for each part of Unicode."""
    with tempfile.TemporaryDirectory() as room:
        parts = []
        for part in ("latin", "latin-ext", "vietnamese", "cyrillic", "cyrillic-ext"):
            font = TTFont(find(folder, f"great-vibes-{part}-400-normal.woff2"))
            font.flavor = None
            plain = Path(room, f"{part}.ttf")
            font.save(plain)
            reduce(plain, plain, lambda _character: True)
            parts.append(str(plain))
        merged = Path(room, "merged.ttf")
        Merger().merge(parts).save(merged)
        reduce(merged, target, set(EUROPE).__contains__)


def main() -> None:
    """Write every font file."""
    folder = Path(sys.argv[1])
    hangul = set(HANGUL)
    cjk = find(folder, "NotoSerifCJK-Bold.ttc")
    reduce(cjk, TARGET / "Song.otf", lambda one: one not in hangul, number=2)
    europe = set(EUROPE).__contains__
    reduce(find(folder, "NotoSerif-Bold.ttf"), TARGET / "Serif.ttf", europe)
    reduce(find(folder, "NotoSans-Regular.ttf"), TARGET / "Sans.ttf", europe)
    script(folder, TARGET / "Script.ttf")


if __name__ == "__main__":
    main()
