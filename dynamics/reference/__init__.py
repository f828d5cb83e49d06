"""The reference suite: corpus, recipe, pretraining and the embedded checkpoints."""
