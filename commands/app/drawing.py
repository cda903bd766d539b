"""Pieces of the page as HTML: strings from strings, everything escaped."""

import re
from collections.abc import Mapping, Sequence
from html import escape

from pipeline.app.readings import NAMES, Reading
from pipeline.serving.card import DISCLAIMER

STYLE = """<style>
.block-container {padding-top: 4.2rem; padding-bottom: 3rem; max-width: 74rem;}
header[data-testid="stHeader"] {background: transparent; pointer-events: none; height: 0;}
.falx-scope {position: fixed; top: 0; left: 0; right: 0; z-index: 999991; padding: .5rem 1rem;
  text-align: center; background: #7c4a12; color: #fff; font-size: .95rem; font-weight: 600;
  line-height: 1.35;}
.falx-head {margin: 0;} .falx-head h1 {font-size: 1.7rem; margin: 0; padding: 0;}
.falx-head p {margin: .15rem 0 0; color: #55636b;}
.falx-answer {font-size: 1.35rem; font-weight: 650; margin: .1rem 0 .5rem;}
.falx-bar {display: grid; grid-template-columns: 8.2rem 1fr 2.9rem; gap: .5rem; align-items: center;
  font-size: .92rem; margin: .22rem 0;}
.falx-bar .track {background: #e4e7e4; border-radius: 3px; height: .8rem; overflow: hidden;}
.falx-bar .fill {background: #9fb4c2; height: 100%;}
.falx-bar.top .fill {background: #2f5d7c;} .falx-bar.top {font-weight: 600;}
.falx-bar .number {text-align: right; font-variant-numeric: tabular-nums;}
.falx-bar .kept {color: #2f5d7c;} .falx-bar .out {color: #8a949a;}
.falx-note {color: #55636b; font-size: .86rem; line-height: 1.45; margin: .15rem 0;
  overflow-wrap: anywhere;}
.falx-note code {font-size: .82rem;}
.falx-refused {border-left: 4px solid #a3402c; background: #f8ecea; padding: .6rem .8rem; border-radius: 3px;
  margin: .2rem 0 .6rem;}
.falx-refused b {color: #8a2f1e;}
.falx-table {width: 100%; border-collapse: collapse; font-size: .92rem;}
.falx-table th, .falx-table td {text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dfe3df;
  overflow-wrap: anywhere; vertical-align: top;}
@media (max-width: 640px) {.block-container {padding-left: 1rem; padding-right: 1rem; padding-top: 5rem;}
  .falx-bar {grid-template-columns: 6.6rem 1fr 2.7rem;}}
</style>"""


def draw_scope() -> str:
    """The line that stands above everything, whatever is scrolled."""
    return f'<div class="falx-scope" role="note">{escape(DISCLAIMER)}</div>'


def draw_head() -> str:
    """The page's name and what it is for."""
    return (
        '<div class="falx-head"><h1>Falx</h1><p>What registered models say of one brain MR slice, how sure '
        "they are, where they look, and whether they have seen the picture before.</p></div>"
    )


def draw_answer(reading: Reading) -> str:
    """Label and calibrated probabilities; what is in the conformal set has a filled dot."""
    rows = "".join(_draw_bar(name, share, reading) for name, share in reading.probabilities.items())
    return f'<div class="falx-answer">{escape(_spell(reading.label))}</div>{rows}'


def draw_refusal(word: str, meaning: str, detail: str) -> str:
    """Why there is no answer."""
    more = f"<br>{escape(meaning[:1].upper() + meaning[1:])}." if meaning else ""
    found = f"<br><span>Found: {escape(detail)}</span>" if detail else ""
    return f'<div class="falx-refused"><b>Refused: {escape(word)}</b>{more}{found}</div>'


def draw_notes(lines: Sequence[str]) -> str:
    """Small print, a paragraph each; what stands in backticks is set as code."""
    shown = [re.sub("`([^`]+)`", r"<code>\1</code>", escape(line)) for line in lines]
    return "".join(f'<p class="falx-note">{line}</p>' for line in shown)


def draw_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text under their column names."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row.values())}</tr>" for row in rows
    )
    return f'<table class="falx-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _draw_bar(name: str, share: float, reading: Reading) -> str:
    top = " top" if name == reading.label else ""
    dot = ""
    if reading.kept is not None:
        inside = name in reading.kept
        title = "in the conformal set" if inside else "outside the conformal set"
        mark = '<span class="kept">●</span>' if inside else '<span class="out">○</span>'
        dot = f' <span title="{title}" aria-label="{title}">{mark}</span>'
    return (
        f'<div class="falx-bar{top}"><span>{escape(_spell(name))}{dot}</span>'
        f'<span class="track"><div class="fill" style="width:{100 * share:.1f}%"></div></span>'
        f'<span class="number">{share:.3f}</span></div>'
    )


def _spell(name: str) -> str:
    return NAMES.get(name, name)
