"""The report of a folder of runs: tables, figures, claims. Run: `python -m gip_exp.report DIR [--out OUT]`.

In reading order: `run` is a run as data, `runs` reads the run folders, `checks` refuses runs that cannot be compared,
`arrange` sorts the runs into the groups, arms and cells of `study`, `compare` and `rows` compute their numbers, `claims`
holds the paper's statements and `verdicts` decides them, `tables`, `context_tables` and `layout` make the content, and
`markdown`, `latex`, `html`, `csv_file`, `terminal` write it. Names and colours of methods are defined in `names`.
"""
