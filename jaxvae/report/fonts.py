"""Fonts that can draw the names of assets in the scripts that people write them in."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

# Latin, Cyrillic and Greek are in the first; of the others a system has some, or none.
FIRST = "DejaVu Sans"
_CANDIDATES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP"),
    *("Noto Sans KR", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti TC"),
    *("Apple SD Gothic Neo", "AppleGothic", "Microsoft YaHei", "Yu Gothic", "MS Gothic"),
    *("Malgun Gothic", "SimHei", "IPAGothic", "IPAexGothic", "TakaoGothic", "VL Gothic"),
    *("NanumGothic", "UnDotum", "Arial Unicode MS", "Unifont", "Noto Sans", "Noto Sans Arabic"),
    *("Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@cache
def families() -> list[str]:
    """The fonts that this machine has, in the order in which a character looks for one."""
    here = {font.name for font in fontManager.ttflist}
    return [FIRST, *(name for name in _CANDIDATES if name in here)]


@cache
def _drawn_by(family: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=family))).get_charmap())


@cache
def drawable() -> frozenset[int]:
    """The characters that one of them draws."""
    return frozenset().union(*map(_drawn_by, families()))


def foreign(text: str) -> bool:
    """Whether a text holds a character that the first font does not draw."""
    return not {*map(ord, text)} - {ord("\n")} <= _drawn_by(FIRST)


def undrawable(names: list[str]) -> list[str]:
    """The names that hold a character which none of the fonts draws."""
    known = drawable()
    return [name for name in names if any(ord(c) not in known for c in name if not c.isspace())]
