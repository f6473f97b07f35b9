"""Style sheet of the HTML page: serif text, sans-serif tables with tabular figures, print and phone layouts."""

CSS = """
:root { --ink: #1d1d1b; --faint: #62625e; --line: #dcdad4; --tint: #f3f2ee; --paper: #fff;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  --serif: Charter, "Bitstream Charter", "Iowan Old Style", Cambria, Georgia, serif; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 var(--serif); }
main { max-width: 80rem; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 .75rem; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3.25rem 0 .75rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
p, ul { max-width: 44rem; }
p { margin: .6rem 0; }
a { color: #00508a; text-underline-offset: .15em; }
nav, table, figcaption, summary, .note { font-family: var(--sans); }
nav { display: flex; flex-wrap: wrap; gap: .35rem 1.2rem; margin: 1.25rem 0 0; font-size: .85rem; }
ul.summary { padding-left: 1.1rem; margin: .6rem 0; overflow-wrap: anywhere; }
figure, .block { margin: 1.75rem 0 2.25rem; }
figcaption, .note { font-size: .82rem; line-height: 1.45; color: var(--faint); max-width: 46rem;
  margin: .5rem 0 0; }
.scroll { overflow-x: auto; }
.scroll svg { display: block; height: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .8rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
h3 { font: 650 .92rem/1.4 var(--sans); margin: 0 0 .5rem; }
th, td { padding: .28rem .55rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; color: var(--faint); vertical-align: bottom; white-space: normal; }
thead th.group { text-align: center; color: var(--ink); border-bottom: 1px solid var(--line); }
thead tr:last-child th, tbody tr:last-child td { border-bottom: 1.5px solid var(--ink); }
tbody tr.rule td { border-top: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 0; position: sticky; left: 0; background: var(--paper); }
.left { text-align: left; }
td.wide { white-space: normal; min-width: 13rem; max-width: 24rem; }
.badge { display: inline-block; padding: .05rem .5rem; border-radius: 1rem; font-weight: 600;
  background: var(--tint); }
.holds { background: #d3ebe0; color: #00533a; }
.fails { background: #f7d9c9; color: #7d2f00; }
.undecided { background: #fbeecb; color: #5f4400; }
.not-run { color: var(--faint); }
summary { cursor: pointer; font-size: .92rem; font-weight: 600; margin: 1rem 0; }
@media (max-width: 40rem) {
  body { font-size: 16px; }
  main { padding: 1.5rem 1rem 4rem; }
  h1 { font-size: 1.6rem; }
  .scroll svg { max-width: none; }
  th:first-child, td:first-child { max-width: 9.5rem; white-space: normal; }
  td.wide { min-width: 10rem; }
}
@media print { nav { display: none; } .scroll { overflow: visible; } }
"""
