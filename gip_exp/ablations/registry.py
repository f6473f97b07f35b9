"""The ablations by name, with a description of each."""

ABLATIONS = {
    "objective": "determinant against trace against mp: objective and overlap, exhaustive search on small pools",
    "ridge": "quality, coverage and overlap against the ridge",
    "centering": "centred against uncentred embeddings, scores standardised or not, over ridges",
    "encoder": "effect of the embedder: quality, coverage, overlap of the selections",
    "noise": "noise and bias added to the scores",
    "distortion": "distorted embeddings and scores: objective on clean data, quality, coverage, overlap",
    "self_compression": "self-compression as a query of the whole set (mp_sc) against one column of scores (mp_sc_column)",
    "stability": "overlap of the selection with itself under seeds, perturbed inputs and left-out rows",
    "coverage": "topics of the pool that a subset covers, against the budget",
}
