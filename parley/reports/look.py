"""How every report looks: the web application's tokens, one style sheet, the frame of a page.

A page forbids itself the network and scripts (`PLEDGE`), whatever the texts in it try.
"""

from __future__ import annotations

import re
from typing import Final

from parley.reports.html import Html, tag

PLEDGE: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

# name: (light, dark). The first ten are those of `service/web/tokens.css`, which a test compares.
TOKENS: Final = {
    "paper": ("#fcfbf9", "#17181a"),
    "raised": ("#ffffff", "#1e2022"),
    "tint": ("#f3f1ec", "#222427"),
    "ink": ("#1f1e1b", "#e9e7e2"),
    "muted": ("#66625a", "#a5a199"),
    "line": ("#e3dfd7", "#303236"),
    "edge": ("#8d887e", "#74726c"),
    "accent": ("#12705f", "#62c7b1"),
    "bad": ("#a3341f", "#f09a86"),
    "bad-tint": ("#fbece8", "#35211d"),
    "bar": ("#cbe3dd", "#1b3d35"),
    "bar-soft": ("#e6f1ee", "#1a2a27"),
}

FONT: Final = 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
STYLE: Final = """
* { box-sizing: border-box; }
html { font: 100%/1.6 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere; }
main { max-width: 72rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1, h2, h3, p, dl, dd, ol, figure { margin: 0; padding: 0; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.02em; }
h2 { font-size: 1.25rem; line-height: 1.3; font-weight: 600; letter-spacing: -0.01em; }
h3 { font-size: 0.9375rem; font-weight: 600; }
p, .prose { max-width: 44rem; text-wrap: pretty; }
p + p { margin-top: 0.625rem; }
a { color: var(--accent); text-underline-offset: 0.2em; }
a.origin { color: inherit; text-decoration: underline dotted var(--edge) 1px; }
a.origin:hover { color: var(--accent); text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
:target { background: var(--bar-soft); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.over { color: var(--muted); font-size: 0.875rem; }
.facts { display: flex; flex-wrap: wrap; gap: 0.25rem 2rem; margin-top: 1.25rem; font-size: 0.875rem; }
.facts dt { color: var(--muted); font-size: 0.75rem; }
.facts dd { font-variant-numeric: tabular-nums; }
.verdict { margin-top: 2rem; padding-left: 1.125rem; border-left: 3px solid var(--accent); }
.verdict strong { display: block; margin-bottom: 0.375rem; font-size: 1.125rem; line-height: 1.4; font-weight: 600; }
nav { margin-top: 2rem; padding: 0.625rem 0; border-block: 1px solid var(--line); font-size: 0.875rem; }
nav ol { display: flex; flex-wrap: wrap; gap: 0.125rem 1.25rem; list-style: none; }
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--accent); text-decoration: underline; }
section { margin-top: 3.25rem; scroll-margin-top: 1rem; }
section > h2 + * { margin-top: 0.5rem; }
section > h3 { margin-top: 2rem; }
.note { margin-top: 0.625rem; font-size: 0.8125rem; line-height: 1.5; color: var(--muted); }

.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.5rem 2rem;
  margin-top: 1.25rem; align-items: start; }
.plots > figure, .beside > figure { max-width: 26rem; }
.beside { display: grid; grid-template-columns: minmax(0, 24rem) minmax(0, 1fr); gap: 1.5rem 2.5rem;
  margin-top: 1.25rem; align-items: center; }
.plot { display: block; width: 100%; height: auto; overflow: visible; }
figcaption { font-size: 0.8125rem; color: var(--muted); line-height: 1.5; }
figcaption b { color: var(--ink); font-weight: 600; }
.plot text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums; }
.plot .tick { font-size: 11px; }
.plot .label { font-size: 11px; }
.plot .value, .plot .name { fill: var(--ink); font-weight: 600;
  paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.plot .grid { stroke: var(--line); }
.plot .base { stroke: var(--edge); }
.plot polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.plot .raw { stroke: var(--accent); stroke-width: 1; opacity: 0.3; }
.plot .line { stroke: var(--accent); stroke-width: 2; }
.plot .dot { fill: var(--accent); opacity: 0.4; }
.plot .end { fill: var(--accent); }
.plot .begin { fill: var(--paper); stroke: var(--accent); stroke-width: 1.5; }
.plot .ring { fill: none; stroke: var(--ink); stroke-width: 1.25; }
.plot .first { stroke: var(--accent); stroke-width: 2; }
.plot .second { stroke: var(--ink); stroke-width: 1.5; }
.plot .third { stroke: var(--edge); stroke-width: 1.5; }
.plot .rung.second { stroke-dasharray: 5 4; }
.plot .rung.third { stroke-dasharray: 1 4; }
.plot .mark.first { fill: var(--accent); stroke: none; }
.plot .mark.second { fill: var(--paper); }
.plot .mark.third { fill: var(--paper); }

.scroll { position: relative; overflow-x: auto; margin-top: 1rem; max-width: 100%; width: fit-content; }
table { border-collapse: collapse; font-size: 0.875rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.5rem; font-weight: 600; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(100%, 100vw - 2rem); }
caption small { font-weight: 400; color: var(--muted); font-size: 0.8125rem; }
th, td { padding: 0.25rem 0.5rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 0; }
th { font-weight: 550; white-space: nowrap; }
thead th { color: var(--muted); font-size: 0.8125rem; border-bottom-color: var(--edge); vertical-align: bottom; }
tr.total > * { border-top: 1px solid var(--edge); }
th small, td small { font-weight: 400; font-size: 0.75rem; color: var(--muted); white-space: nowrap; }
td.n { text-align: right; white-space: nowrap; }
.stacked td small { display: block; }
.change b, .change i { display: inline-block; min-width: 3.25em; font-style: normal; font-weight: 400; }
.change b { font-weight: 600; }
th.n { text-align: right; }
td.wide { min-width: 16rem; }
td.reason { min-width: 16rem; max-width: 34rem; }
td.reason small { white-space: normal; }
td.kind { padding-left: 0.5rem; white-space: nowrap; }
tbody th[rowspan] { vertical-align: top; }
td.seen { min-width: 18rem; font-size: 0.75rem; line-height: 1.5; color: var(--muted); }
.examples { margin-top: 0.625rem; }
.examples summary { font-size: 0.875rem; font-weight: 550; }
.examples summary small { font-weight: 400; color: var(--muted); }
.examples .exchange { margin: 0.75rem 0 0; }
.bar { display: block; position: relative; width: 9.25rem; padding: 0.0625rem 0.4375rem; border-radius: 0.25rem;
  white-space: nowrap;
  background: linear-gradient(90deg, var(--bar) 0 var(--low), var(--bar-soft) var(--low) var(--high),
    transparent var(--high));
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.bar.counted { width: 12.5rem; }
.bar b { display: inline-block; min-width: 2.75em; margin-right: 0.3em; font-weight: 550; }
.bar small { font-size: 0.75rem; }
.bar .fell { position: absolute; top: 0.125rem; right: 0.375rem; font-size: 0.75rem; }
.time { display: block; height: 0.625rem; width: var(--high); min-width: 2px; border-radius: 0.1875rem;
  background: var(--accent); opacity: 0.6; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.fell { color: var(--bad); font-weight: 600; white-space: nowrap; }
.clear { font-weight: 600; }
.flags { max-width: 44rem; margin: 0.75rem 0 0; padding-left: 1.125rem; color: var(--bad); font-size: 0.875rem; }
code, .digest { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace; font-size: 0.9em; }
.artifacts th { white-space: normal; min-width: 14rem; }
.artifacts tbody th { font-weight: 400; }
li:target { background: none; color: var(--accent); }
.made { max-width: 44rem; font-size: 0.75rem; color: var(--muted); }
.made pre { margin: 0.25rem 0 0; white-space: pre-wrap; font: inherit; }
summary { cursor: pointer; }
.files { list-style: none; }

.exchange { margin-top: 1.25rem; padding-top: 1rem; border-top: 1px solid var(--line); break-inside: avoid; }
.exchange h3 { color: var(--muted); font-size: 0.8125rem; font-weight: 400; }
.said { display: grid; grid-template-columns: 4.5rem minmax(0, 1fr); align-items: baseline; max-width: 44rem;
  margin-top: 0.25rem; white-space: pre-wrap; }
.said b { color: var(--muted); font-size: 0.8125rem; font-weight: 400; }
.replies { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr));
  gap: 0.625rem; margin-top: 0.75rem; }
.reply { padding: 0.5rem 0.75rem 0.625rem; background: var(--raised);
  border: 1px solid var(--line); border-radius: 0.5rem; }
.reply .by { display: flex; justify-content: space-between; gap: 0.5rem; font-size: 0.75rem; color: var(--muted); }
.reply .words { white-space: pre-wrap; line-height: 1.5; }
.reply .nothing { color: var(--muted); }
bdi { unicode-bidi: isolate; }

@media print, (max-width: 46rem) {
  .bar { width: 5.25rem; }
  .bar.counted { width: 8.5rem; }
  .bar small, .pinned th small, .steps td small, .change small { display: block; }
  td.wide { min-width: 7rem; }
  .beside { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 46rem) {
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.625rem; }
  .facts { gap: 0.375rem 1.5rem; }
  .scroll { width: auto; }
  .said { grid-template-columns: 3.75rem minmax(0, 1fr); }
  .pinned th:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper); padding-right: 0.625rem;
    white-space: normal; overflow-wrap: break-word; min-width: 6.5rem; max-width: 9.5rem; }
}
@media print {
  html { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  section { margin-top: 2rem; }
  tr, figure, .verdict { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; }
  a { color: inherit; }
  .artifacts th { min-width: 0; }
  .artifacts tr > :last-child { display: none; }
}
"""


def page(title: str, body: Html) -> str:
    """A whole page around its body."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=PLEDGE),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_tokens() + STYLE)),
    )
    return "<!doctype html>\n" + tag("html", head, "\n", tag("body", tag("main", body)), lang="en") + "\n"


def picture(plot: Html) -> str:
    """A plot as a file of its own, with what it needs to look as it does on a page."""
    rules = re.findall(r"^\.plot [^{]+\{[^}]+\}", STYLE, re.M)
    ground = f"svg {{ background: var(--paper); font-family: {FONT}; }}"
    style = tag("style", Html("\n".join([_tokens(), ground, *rules])))
    head, _, rest = plot.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def _tokens() -> str:
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in TOKENS.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in TOKENS.items())
    return (
        f"\n:root {{ color-scheme: light; {light} }}"
        f"\n@media screen and (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}"
    )
