"""The report of a folder of runs: tables, figures, claims. Run: `python -m gip_exp.report DIR [--out OUT]`.

In reading order: `runs` reads the run folders, `checks` refuses mixtures that cannot be compared, `arrange`
sorts the runs into the groups, arms and cells of `study`, `compare` and `rows` put numbers on them, `claims` holds the
paper's statements and `verdicts` decides them, `tables`, `context_tables` and `layout` say everything once,
and `markdown`, `latex`, `html`, `csv_file`, `terminal` write it down. Names and colours of methods stand in
`names` and nowhere else.
"""
