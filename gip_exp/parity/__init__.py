"""`python -m gip_exp.parity`: our methods beside the official packages on one small pool, where these are installed."""
