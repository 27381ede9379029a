"""HTML pages that need no network, scripts or fonts: their style, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = ["COLOURS", "document", "figure", "paragraph", "table"]

COLOURS = 6
"""Number of colours that lines and bars of a chart can have."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5c6675; --paper: #fff;
  --box: #f5f6f8; --edge: #dcdfe5; --good: #1d7a4f; --bad: #b3372d; --fits: #2f6fb0;
  --c0: #2f6fb0; --c1: #d9822b; --c2: #3a9a67; --c3: #8a5fb5; --c4: #c14f73; --c5: #7d8694; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #9aa4b2; --paper: #14171c;
  --box: #1c2027; --edge: #313741; --good: #58c08f; --bad: #ee7b70; --fits: #6aa7e0;
  --c0: #6aa7e0; --c1: #eda65c; --c2: #68c595; --c3: #b795dc; --c4: #e58aa7;
  --c5: #9aa4b2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 16px 56px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p, li { overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; max-width: 72ch; }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
.verdict { border-left: 4px solid var(--good); background: var(--box); padding: .7rem 1rem;
  margin: 1rem 0; border-radius: 0 6px 6px 0; }
.verdict.bad { border-color: var(--bad); }
.verdict ul { margin: .3rem 0 0; padding-left: 1.1rem; }
.answers { display: grid; gap: 1.1rem 2rem; grid-template-columns: repeat(auto-fit,
  minmax(min(100%, 420px), 1fr)); margin-top: 1.2rem; }
.charts { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit,
  minmax(min(100%, 430px), 1fr)); margin-bottom: 1.4rem; }
figure { margin: 0; background: var(--box); border: 1px solid var(--edge); border-radius: 8px;
  padding: .8rem .9rem; min-width: 0; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; }
svg, img, video { display: block; width: 100%; max-width: 560px; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--edge); } .axis { stroke: var(--soft); }
.bracket { stroke: var(--fits); stroke-width: 2; } .cross { stroke: var(--bad); stroke-width: 2; }
.fits { fill: var(--fits); opacity: .13; } .irrelevant { fill: var(--soft); opacity: .18; }
.line { fill: none; stroke-width: 1.8; }
.scroll { overflow-x: auto; max-height: 32rem; border: 1px solid var(--edge); border-radius: 8px;
  margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .86rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .34rem .7rem; border-bottom: 1px solid var(--edge);
  white-space: nowrap; }
th { position: sticky; top: 0; background: var(--box); font-weight: 600; }
td:last-child { white-space: normal; min-width: 24ch; }
tr:last-child td { border-bottom: 0; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .4rem 0 0;
  padding: 0; color: var(--soft); font-size: .84rem; }
.key { display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .35em; }
""" + "".join(
    f".line.c{n} {{ stroke: var(--c{n}); }} .bar.c{n}, .dot.c{n} {{ fill: var(--c{n}); }} "
    f".key.c{n} {{ background: var(--c{n}); }}\n"
    for n in range(COLOURS)
)


def document(title: str, body: Iterable[str], *, refresh: int | None = None) -> str:
    """A whole page: the title as its heading, and below it the parts, which are HTML.

    A browser loads it again every ``refresh`` seconds; None: never.
    """
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh}">\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{again}"
        # An empty icon: browsers would ask for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n<main>\n"
        + "\n".join([f"<h1>{escape(title)}</h1>", *body])
        + "\n</main>\n</body>\n</html>\n"
    )


def figure(name: str, chart: str, told: str) -> str:
    """A chart, which is HTML, in a box with a name above it and a sentence below."""
    return f"<figure><h3>{escape(name)}</h3>{chart}<figcaption>{escape(told)}</figcaption></figure>"


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` is a class of the style sheet."""
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{escape(text)}</p>"


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table with a column for every key of the first row, which scrolls where it is wide."""
    if not rows:
        return paragraph("Nothing to list.", kind="soft")
    head = "".join(f"<th>{escape(column)}</th>" for column in rows[0])
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
