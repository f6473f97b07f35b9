"""Judges that are one function: `judge` in `<kind>.py`, with `conf/judge/<kind>.yaml` beside it."""
