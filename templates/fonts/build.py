"""Writes `files/*.ttf` and their licences: `python -m templates.fonts.build FOLDER`.

FOLDER has an unpacked npm package for each of `SOURCES`. To fetch them: `npm pack` each of

    @expo-google-fonts/inter@0.4.2                @expo-google-fonts/noto-sans-thai@0.4.2
    @expo-google-fonts/oswald@0.4.2               @expo-google-fonts/noto-sans-sc@0.4.3
    @expo-google-fonts/playfair-display@0.4.2     @expo-google-fonts/noto-sans-jp@0.4.3
    @expo-google-fonts/noto-sans@0.4.2            @expo-google-fonts/noto-sans-kr@0.4.3
    @expo-google-fonts/noto-sans-arabic@0.4.3     @expo-google-fonts/noto-emoji@0.4.7
    @expo-google-fonts/noto-sans-hebrew@0.4.1     @expo-google-fonts/noto-sans-symbols-2@0.4.1
    @expo-google-fonts/noto-sans-devanagari@0.4.1

and unpack each archive into a folder of its own. A file keeps all of its layout features; what
goes are hints (glyphs are drawn as outlines), vertical metrics, private-use characters, and from
the big faces what the texts of their languages do not need. Each file gets a family name
of its own, so that a renderer that is asked for it can take no other; that also keeps the names
which some of these licences reserve off the changed files.
"""

import io
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped]
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from msgspec import Struct

HERE = Path(__file__).parent
SCOPE = "@expo-google-fonts/"
Wanted = Callable[[int], bool]


def _any(code: int) -> bool:
    return True


def _encodable(*encodings: str) -> Wanted:
    def wanted(code: int) -> bool:
        for encoding in encodings:
            try:
                chr(code).encode(encoding)
            except UnicodeEncodeError:
                continue
            return True
        return False

    return wanted


def _hangul(code: int) -> bool:
    """Hangul, and what stands between it; Han and other letters come from other faces."""
    letter = unicodedata.category(chr(code)).startswith("L")
    return code < 0x80 or not letter or "HANGUL" in unicodedata.name(chr(code), "")


def _european(code: int) -> bool:
    """All but Devanagari, which has a face of its own."""
    return not 0x0900 <= code <= 0x097F and not 0xA8E0 <= code <= 0xA8FF and not 0x1CD0 <= code <= 0x1CFF


class Source(Struct, frozen=True):
    """One face: where it is from, what it is called here, and which of its characters stay."""

    package: str
    version: str
    file: str
    stem: str
    family: str
    wanted: Wanted = _any


SOURCES = (
    Source("inter", "0.4.2", "Inter_500Medium.ttf", "inter-500", "Gateway Inter Medium"),
    Source("inter", "0.4.2", "Inter_800ExtraBold.ttf", "inter-800", "Gateway Inter ExtraBold"),
    Source("oswald", "0.4.2", "Oswald_700Bold.ttf", "oswald-700", "Gateway Oswald"),
    Source("playfair-display", "0.4.2", "PlayfairDisplay_700Bold.ttf", "serif-700", "Gateway Serif"),
    Source("noto-sans", "0.4.2", "NotoSans_700Bold.ttf", "noto-700", "Gateway Noto", _european),
    Source("noto-sans-arabic", "0.4.3", "NotoSansArabic_700Bold.ttf", "arabic-700", "Gateway Arabic"),
    Source("noto-sans-hebrew", "0.4.1", "NotoSansHebrew_700Bold.ttf", "hebrew-700", "Gateway Hebrew"),
    Source(
        "noto-sans-devanagari",
        "0.4.1",
        "NotoSansDevanagari_700Bold.ttf",
        "devanagari-700",
        "Gateway Devanagari",
    ),
    Source("noto-sans-thai", "0.4.2", "NotoSansThai_700Bold.ttf", "thai-700", "Gateway Thai"),
    Source("noto-sans-sc", "0.4.3", "NotoSansSC_700Bold.ttf", "sc-700", "Gateway SC"),
    Source(
        "noto-sans-jp",
        "0.4.3",
        "NotoSansJP_700Bold.ttf",
        "jp-700",
        "Gateway JP",
        _encodable("euc_jis_2004", "cp932"),
    ),
    Source("noto-sans-kr", "0.4.3", "NotoSansKR_700Bold.ttf", "kr-700", "Gateway KR", _hangul),
    Source("noto-emoji", "0.4.7", "NotoEmoji_700Bold.ttf", "emoji-700", "Gateway Emoji"),
    Source(
        "noto-sans-symbols-2", "0.4.1", "NotoSansSymbols2_400Regular.ttf", "symbols-400", "Gateway Symbols"
    ),
)

UPRIGHT = ("vhea", "vmtx", "VORG", "BASE", "gasp", "prep", "DSIG")
"""Tables of vertical text, and what is left of hints."""


def main(arguments: list[str]) -> int:
    """Build everything; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m templates.fonts.build FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    packages = dict(_packages(Path(arguments[0])))
    (HERE / "files").mkdir(exist_ok=True)
    (HERE / "licenses").mkdir(exist_ok=True)
    rows = []
    for source in SOURCES:
        folder = packages[source.package, source.version]
        found = next(folder.rglob(source.file))
        data, notice, version = build(found.read_bytes(), source)
        (HERE / "files" / f"{source.stem}.ttf").write_bytes(data)
        terms = (folder / "LICENSE_FONT").read_text("utf-8")
        (HERE / "licenses" / f"{source.package}.txt").write_text(terms, "utf-8")
        rows.append((source, len(data), notice, version))
    (HERE / "LICENSES.md").write_text(_table(rows), "utf-8")
    return 0


def build(data: bytes, source: Source) -> tuple[bytes, str, str]:
    """The face's bytes as shipped, its copyright line and its version."""
    font = TTFont(io.BytesIO(data), recalcTimestamp=False)
    notice = str(font["name"].getDebugName(0)).strip()
    version = str(font["name"].getDebugName(5)).split(";")[0].strip()
    options = subset.Options(
        hinting=False,
        layout_features=["*"],
        drop_tables=[*subset.Options().drop_tables, *UPRIGHT],
        name_IDs=["*"],
        notdef_outline=True,
        recalc_timestamp=False,
        prune_unicode_ranges=True,
    )
    cutter = subset.Subsetter(options)
    codes = {code for code in font.getBestCmap() if unicodedata.category(chr(code)) not in ("Co", "Cc")}
    cutter.populate(unicodes={code for code in codes if source.wanted(code)})
    cutter.subset(font)
    _rename(font, source)
    out = io.BytesIO()
    font.save(out, reorderTables=False)
    return out.getvalue(), notice, version


def _rename(font: TTFont, source: Source) -> None:
    """The family's own name, in English alone; copyright, version and licence stay as they are."""
    names = font["name"]
    own = {
        1: source.family,
        2: "Regular",
        3: source.family,
        4: source.family,
        6: source.family.replace(" ", "-"),
    }
    kept = {i: names.getDebugName(i) for i in (0, 5, 13, 14)}
    names.names = []
    for number, text in sorted({**kept, **own}.items()):
        if text:
            names.setName(text, number, 3, 1, 0x409)


def _packages(root: Path) -> Iterator[tuple[tuple[str, str], Path]]:
    for path in root.rglob("package.json"):
        about = json.loads(path.read_text("utf-8"))
        if str(about.get("name", "")).startswith(SCOPE):
            yield (about["name"].removeprefix(SCOPE), about["version"]), path.parent


def _table(rows: list[tuple[Source, int, str, str]]) -> str:
    head = (
        "# The faces in `files/`\n\n"
        "All are under the SIL Open Font License 1.1, each family's copy of it is in `licenses/`. They were\n"
        "changed: cut down to the characters that are needed, without hints, and renamed. Written by\n"
        "`python -m templates.fonts.build`.\n\n"
        "| file | from the npm package | its file | version | kB | copyright |\n|---|---|---|---|---|---|\n"
    )
    lines = [
        f"| `{s.stem}.ttf` | `{SCOPE}{s.package}` {s.version} | `{s.file}` | {version} "
        f"| {size // 1000} | {notice} |\n"
        for s, size, notice, version in rows
    ]
    total = sum(size for _, size, _, _ in rows)
    return head + "".join(lines) + f"\nTogether {total / 1e6:.1f} MB.\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
