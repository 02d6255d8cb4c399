"""The faces: what is in the files, what may be done with them, and who is asked for a character."""

import io
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from support.drawing import ink
from support.scripts import SCRIPTS

from templates.fonts import build, faces
from templates.fonts.faces import FAMILIES, FILES, Face, faces_for, is_rtl_language

FACES = [face for face in vars(faces).values() if isinstance(face, Face)]
ROOT = FILES.parent


def test_each_file_is_one_face() -> None:
    assert sorted(face.path for face in FACES) == sorted(FILES.iterdir())
    assert len({face.family for face in FACES}) == len(FACES) == len(build.SOURCES)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.stem)
def test_a_file_says_what_its_face_says(face: Face) -> None:
    with TTFont(face.path) as font:
        names = font["name"]
        assert {str(n) for n in names.names if n.nameID in (1, 16)} == {face.family}
        assert "SIL Open Font License" in names.getDebugName(13)
        assert "opyright" in names.getDebugName(0) or "(c)" in names.getDebugName(0)
        assert font["OS/2"].usWeightClass == face.weight
        assert font["OS/2"].fsType == 0  # may be embedded
        assert "GSUB" in font
        assert "fpgm" not in font
        assert not any(0xE000 <= code <= 0xF8FF or code < 32 for code in font.getBestCmap())


def test_a_reserved_name_is_not_used() -> None:
    for source in build.SOURCES:
        terms = (ROOT / "licenses" / f"{source.package}.txt").read_text("utf-8")
        assert "SIL OPEN FONT LICENSE Version 1.1" in terms
        first = terms.splitlines()[0]
        if "Reserved Font Name" in first:
            reserved = first.split("Reserved Font Name")[1].strip(" '\".")
            assert reserved.lower() not in source.family.lower()


def test_the_table_has_each_file_and_its_copyright() -> None:
    table = (ROOT / "LICENSES.md").read_text("utf-8")
    for source in build.SOURCES:
        with TTFont(FILES / f"{source.stem}.ttf") as font:
            notice = font["name"].getDebugName(0)
        assert f"| `{source.stem}.ttf` | `@expo-google-fonts/{source.package}` {source.version} |" in table
        assert notice in table
        assert f"{build.SCOPE}{source.package}@{source.version}" in (build.__doc__ or "")


def test_the_files_are_not_too_big_to_be_kept_with_the_source() -> None:
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 22_000_000


def test_a_renderer_that_has_all_files_takes_the_one_that_is_named() -> None:
    everything = [face.path for face in FACES]
    for face in FACES:
        sample = next(c for c in "Rאکर字字한ก☃🎉♜" if face.covers(c))
        font = f'font-family="{face.family}" font-weight="{face.weight}" font-size="60"'
        svg = f'<text x="10" y="80" {font}>{sample}</text>'
        alone, among = ink(svg, 120, 120, [face.path]), ink(svg, 120, 120, everything)
        assert alone.getbbox() is not None, face.stem
        assert alone.tobytes() == among.tobytes(), face.stem


# -- what they cover -------------------------------------------------------------------------------------------


def encodable(encoding: str, first: int, last: int) -> str:
    found = []
    for code in range(first, last + 1):
        try:
            chr(code).encode(encoding)
        except UnicodeEncodeError:
            continue
        found.append(chr(code))
    return "".join(found)


@pytest.mark.parametrize(
    ("face", "text", "least"),
    [
        (faces.INTER_800, encodable("cp1252", 0xAE, 0x2122), 100),
        (faces.INTER_800, encodable("cp1250", 0xAE, 0x17F), 90),
        (faces.INTER_800, encodable("cp1251", 0x400, 0x45F), 90),
        (faces.INTER_800, encodable("cp1253", 0x384, 0x3CE), 70),
        (faces.INTER_800, encodable("cp1258", 0xC0, 0x1B0), 60),
        (faces.INTER_500, "ẠảẤầẨẫậẮặẸẻẽẾềểễỆỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđĐơƠưƯ", 40),
        (faces.ARABIC, encodable("cp1256", 0x60C, 0x6D2), 50),
        (faces.HEBREW, encodable("cp1255", 0x5D0, 0x5EA), 27),
        (faces.DEVANAGARI, "".join(map(chr, range(0x0904, 0x093A))), 50),
        (faces.THAI, encodable("cp874", 0xE01, 0xE5B), 80),
        (faces.SC, encodable("gb2312", 0x4E00, 0x9FA5), 6763),
        (faces.SC, encodable("gbk", 0x4E00, 0x9FA5), 20902),
        (faces.SC, encodable("big5", 0x4E00, 0x9FA5), 13000),
        (faces.JP, encodable("shift_jis", 0x3041, 0x9FA5), 6500),
        (faces.JP, encodable("euc_jis_2004", 0x4E00, 0x9FA5), 9000),
        (faces.KR, "".join(map(chr, range(0xAC00, 0xD7A4))), 11172),
        (faces.EMOJI, "😀🎉🔥❤👍✈⚡🇩🇪🏽", 9),
    ],
    ids=lambda value: value.stem if isinstance(value, Face) else None,
)
def test_what_a_face_covers(face: Face, text: str, least: int) -> None:
    assert len(text) >= least
    assert face.lacks(text) == ""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample", SCRIPTS)
def test_every_script_is_covered_by_every_family_with_its_fallbacks(family: str, sample: str) -> None:
    text, language = SCRIPTS[sample]
    order = faces_for(family, 700, language)
    invisible = "\u200c\u200d\ufe0f"
    assert [c for c in text if c not in invisible and not any(face.covers(c) for face in order)] == []


# -- who is asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("ja", ["jp-700", "sc-700", "kr-700"]),
        ("ja-JP", ["jp-700", "sc-700", "kr-700"]),
        ("ko", ["kr-700", "sc-700", "jp-700"]),
        ("zh-Hant", ["sc-700", "jp-700", "kr-700"]),
        ("zh_CN", ["sc-700", "jp-700", "kr-700"]),
        (None, ["sc-700", "jp-700", "kr-700"]),
    ],
)
def test_the_language_decides_whose_han_it_is(language: str | None, expected: list[str]) -> None:
    assert [face.stem for face in faces_for("inter", 800, language) if face.east_asian] == expected


def test_the_family_and_the_weight_are_asked_first() -> None:
    assert [face.stem for face in faces_for("inter", 800, None)][:2] == ["inter-800", "noto-700"]
    assert faces_for("inter", 400, None)[0] is faces.INTER_500
    assert [face.stem for face in faces_for("serif", 400, None)][:2] == ["serif-700", "inter-800"]
    assert [face.stem for face in faces_for("oswald", 700, "ja")][-2:] == ["emoji-700", "symbols-400"]
    with pytest.raises(ValueError, match=r"no font family 'comic': there are inter, oswald, serif"):
        faces_for("comic", 400, None)


@pytest.mark.parametrize(
    ("language", "rtl"),
    [
        *((language, True) for language in ("ar", "ar-EG", "he_IL", "fa", "ur", "pa-Arab")),
        *((language, False) for language in ("de", "zh-Hant", None, "", "arn")),
    ],
)
def test_languages_from_right_to_left(language: str | None, rtl: bool) -> None:
    assert is_rtl_language(language) is rtl


# -- how they are made -----------------------------------------------------------------------------------------


def test_a_face_is_cut_down_the_same_way_each_time(tmp_path: Path) -> None:
    before = faces.ARABIC.path.read_bytes()
    source = build.Source("p", "1", "f", "s", "Some Name", lambda code: code in range(0x627, 0x64B))
    data, notice, version = build.build(before, source)
    assert build.build(before, source)[0] == data
    assert (notice[:9], version) == ("Copyright", "Version 2.012")
    with TTFont(io.BytesIO(data)) as cut, TTFont(faces.ARABIC.path) as whole:
        assert set(cut.getBestCmap()) == set(whole.getBestCmap()) & set(range(0x627, 0x64B))
        assert cut["name"].getDebugName(1) == "Some Name"
        features = {record.FeatureTag for record in cut["GSUB"].table.FeatureList.FeatureRecord}
        assert {"init", "medi", "fina", "rlig"} <= features
        assert cut["maxp"].numGlyphs < whole["maxp"].numGlyphs
        assert "vmtx" not in cut


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 2
    assert capsys.readouterr().err == "usage: python -m templates.fonts.build FOLDER\n"
