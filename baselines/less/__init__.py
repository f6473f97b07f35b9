"""LESS: select the examples whose gradients agree with those of a target (Xia et al., arXiv 2402.04333).

The caller trains a LoRA warm-up and keeps one checkpoint per epoch (`write_parameter_names` beside each
optimiser state). Then, for every checkpoint, with its adapter loaded into the model:

    state = adam_state(checkpoint_folder, model)
    gradient_features(model, pool, folder=pool_folder, adam=state)  # Adam-corrected, projected, unit length
    gradient_features(model, target, folder=target_folder)          # plain gradients, same projection

and finally

    weights = learning_rate_weights(checkpoint_folders)
    scores = influence(
        [load_features(f) for f in pool_folders], [load_features(f) for f in target_folders], weights
    )
    selection = select(scores, budget)
"""

from baselines.less.adam import AdamState, adam_direction, adam_state, write_parameter_names
from baselines.less.features import gradient_features, load_features
from baselines.less.gradients import lora_parameters, per_example_gradients
from baselines.less.influence import (
    TARGET,
    TRAIN,
    influence,
    learning_rate_weights,
    select,
    select_by_gradients,
)
from baselines.less.projection import CountSketch

__all__ = [
    "TARGET",
    "TRAIN",
    "AdamState",
    "CountSketch",
    "adam_direction",
    "adam_state",
    "gradient_features",
    "influence",
    "learning_rate_weights",
    "load_features",
    "lora_parameters",
    "per_example_gradients",
    "select",
    "select_by_gradients",
    "write_parameter_names",
]
