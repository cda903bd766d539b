"""How a report looks: the shared style sheet, made to follow a dark screen and to fit a narrow one."""

from pipeline.pages.style import STYLE as SHARED

PROTOCOL_COLOURS = {"published": "#c2452d", "stratified": "#d9912b", "patient": "#1f6fa8"}
OTHER_COLOUR = "#8a6bb0"
CLASS_COLOURS = {"glioma": "#1f6fa8", "meningioma": "#c2452d", "pituitary": "#2f8f6b", "no_tumor": "#b07d1c"}
CLASS_DASHES = {"glioma": "", "meningioma": "7 3", "pituitary": "2 3", "no_tumor": "9 3 2 3"}
BEFORE, AFTER = "#c2452d", "#1f6fa8"

STYLE = (
    SHARED
    + """
:root { color-scheme: light dark; --ink: #1c2429; --soft: #5a666d; --paper: #fff; --line: #e6ebed;
  --link: #1f5f8b; --card: #f5f7f8; --shade: 31,111,168; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ec; --soft: #a3b0b8; --paper: #14191c; --line: #2c363c; --link: #7db8e0;
    --card: #1c2327; --shade: 90,160,215; }
}
body { background: var(--paper); color: var(--ink); }
h2 { border-color: var(--line); }
a, summary { color: var(--link); }
th, td, details[open] > summary { border-color: var(--line); }
th { color: var(--soft); }
details { border-color: var(--line); }
footer { border-color: var(--line); }
.lead { color: var(--ink); }
.small, .note, .ends, figcaption { color: var(--soft) !important; }
.ends { font-size: 11.5px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.lead .ends { font-size: 14px; }
svg text { fill: var(--ink); } svg text.soft { fill: var(--soft); }
svg .grid { stroke: var(--line); }
.charts { display: flex; flex-wrap: wrap; gap: 10px 34px; }
.charts figure { margin: 6px 0; max-width: 100%; }
.charts figcaption { font-size: 13px; max-width: 46ch; }
.claim { background: var(--card); border-radius: 8px; padding: 14px 18px; margin: 12px 0; }
.claim p { margin: 4px 0; }
.claim .big { font-size: 19px; } .claim code { font-size: 0.9em; }
td.cell { text-align: right; font-variant-numeric: tabular-nums; min-width: 62px; padding-left: 8px; }
pre { font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", Consolas, monospace; overflow-x: auto;
  background: var(--card); padding: 10px 12px; border-radius: 6px; }
td { overflow-wrap: break-word; }
td:has(> code) { min-width: 0; }
td > code { overflow-wrap: break-word; }
.swatch { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px; vertical-align: 4px; }
@media (max-width: 640px) {
  main { padding: 16px 14px 40px; } h1 { font-size: 24px; } .claim .big { font-size: 17px; }
}
@media print {
  :root { color-scheme: light; } .wide { overflow: visible; } details:not([open]) { display: none; }
}
"""
)
