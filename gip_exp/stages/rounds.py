"""Re-selection (`rounds` above 1): select a part, train briefly, score with the tuned model, select the next part, ...

    rank/1 - select/1 - train/1 - score/tuned-1 - rank/2 - select/2 - train/2 - score/tuned-2 - rank - select - train

Round r selects up to r / R of the budget and trains for 1 / R of the steps on all rows selected so far, from the adapter of the
round before. The last round has the plain names, so that whatever follows sees one ranking, one selection and one adapter. Rows
and steps of all rounds together are those of a single selection. With `rescore=none` nothing is scored again: the rows come
from the first ranking, and only the training is in rounds, which is what re-selection has to be compared with.
"""

from gip_exp.config import Config
from gip_exp.stage import Stage
from gip_exp.stages import rank, rescore, select, train


def stages(config: Config) -> list[Stage]:
    """Return the stages that rank, select and train, in execution order."""
    if config.rounds == 1:
        return [rank.STAGE, select.STAGE, train.STAGE]
    last = config.rounds
    found = [] if config.rescore != "none" else [rank.STAGE]
    for number in range(1, last + 1):
        if config.rescore != "none":
            found.append(rank.in_round(number, last))
        found += [
            select.in_round(number, last, of_first=config.rescore == "none"),
            train.in_round(number, last),
        ]
        if config.rescore != "none" and number < last:
            found.append(rescore.after_round(number))
    return found
