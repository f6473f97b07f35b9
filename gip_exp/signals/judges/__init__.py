"""Judges that are one function: `judge` in `<kind>.py`, with the options in `conf/judge/<kind>.yaml`."""
