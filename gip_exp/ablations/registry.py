"""The ablations by name, with what each shows."""

ABLATIONS = {
    "objective": "determinant against trace against mp: objective and overlap, exhaustive search on small pools",
    "ridge": "quality, coverage and overlap against the ridge",
    "centering": "embeddings centred against not, scores standardised or not, over ridges",
    "encoder": "what the embedder changes: quality, coverage, overlap of the selections",
    "noise": "noise and bias injected into the scores",
    "stability": "overlap of the selection with itself under seeds, perturbed inputs and left-out rows",
    "coverage": "topics of the pool that a subset covers, against the budget",
}
