"""How the page looks: one style sheet, printable, and the colours that charts and legends share."""

TWIN_COLOURS: dict[str, str] = {
    "byte_identical": "#7a1f2b",
    "same_picture": "#c2452d",
    "turned": "#e8963c",
    "same_patient": "#f3d08b",
    "none": "#c9d3d8",
}
VERDICT_COLOURS = {"copy": "#c2452d", "review": "#e8b33c", "rejected": "#5b7f95"}
COLLECTION_COLOURS = ("#1f5f8b", "#3f8f6b", "#8a6bb0", "#b07d3c", "#b0527a", "#4f8f9f", "#7a7a3c", "#8a4f4f")
SHARED_COLOUR = "#46505a"
UNKNOWN_COLOUR = "#c9d3d8"
INK = "#1c2429"
FAINT = "#6b7880"
CONTROL = "#1f5f8b"

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1c2429; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 21px; margin: 46px 0 6px; padding-top: 14px; border-top: 1px solid #d9e0e3; }
h3 { font-size: 15.5px; margin: 22px 0 4px; }
p { margin: 6px 0 10px; max-width: 78ch; }
.lead { font-size: 17px; color: #39444b; }
.small, .note { font-size: 13px; color: #5a666d; }
.note { border-left: 3px solid #c9d3d8; padding: 2px 0 2px 10px; }
.warn { border-left-color: #c2452d; }
nav { font-size: 13px; margin: 14px 0 4px; }
nav a { margin-right: 14px; white-space: nowrap; display: inline-block; }
a { color: #1f5f8b; }
svg { display: block; max-width: 100%; height: auto; margin: 8px 0; }
svg text { font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", Arial, sans-serif; }
.wide { overflow-x: auto; margin: 6px 0 12px; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 4px 14px 4px 0; border-bottom: 1px solid #e6ebed; }
th { font-weight: 600; color: #46505a; vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
td:has(> code) { min-width: 290px; }
tbody th { white-space: nowrap; vertical-align: top; }
code { font: 12px ui-monospace, "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere; }
details { margin: 6px 0; border: 1px solid #dfe5e8; border-radius: 5px; }
summary { cursor: pointer; padding: 6px 12px; font-size: 13.5px; color: #1f5f8b; }
details[open] > summary { border-bottom: 1px solid #e6ebed; }
.inside { padding: 8px 12px 10px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; margin: 4px 0 10px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px;
  vertical-align: -1px; }
.sheet { display: flex; flex-wrap: wrap; gap: 10px 12px; }
.sheet figure { margin: 0; font-size: 11.5px; line-height: 1.35; color: #46505a; }
.sheet figure.one { width: 96px; }
.sheet figure.strip { width: 486px; }
.sheet figure.two { width: 194px; }
.sheet figure.strip img { width: 100%; height: auto; }
.sheet img { display: block; background: #000; max-width: 100%; }
.sheet figcaption { overflow-wrap: anywhere; margin-top: 2px; }
.gone { width: 96px; height: 96px; background: #eef2f4; color: #8a959b; display: grid; place-items: center;
  font-size: 11px; text-align: center; }
.good { color: #2d7a4f; } .bad { color: #b3261e; }
footer { margin-top: 50px; border-top: 1px solid #d9e0e3; padding-top: 12px; }
@media print {
  main { max-width: none; padding: 0; } body { font-size: 11pt; }
  h2 { break-after: avoid; } figure, tr, svg { break-inside: avoid; } nav { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
