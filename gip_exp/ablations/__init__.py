"""Ablations: one command each, on the scores and embeddings that the stages made (`python -m gip_exp.ablations`).

Each module `<name>.py` holds its `Settings` (keys `ablation.*`) and `run(setup) -> Findings`.
"""
