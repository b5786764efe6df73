"""Training of one model: the budget, one epoch, evaluation, metrics, checkpoints, and what is watched on the way."""
