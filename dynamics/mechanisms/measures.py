"""Names of the measures in the table `mechanisms`. No torch."""

PREVIOUS, DUPLICATE, PREFIX = "previous_token", "duplicate_token", "prefix_matching"
"""On repeated random tokens (`dynamics.mechanisms.sequences`)."""
COPYING, COPYING_RANK = "copying", "copying_rank"
"""Of the weights (`dynamics.mechanisms.copying`)."""
LABEL_ATTENTION, GOLD, PREDICTED = "label_attention", "gold_attention", "predicted_attention"
DEMO_TEXT, QUERY, FIRST = "demo_text_attention", "query_attention", "first_attention"
LABEL_COPYING = "label_copying"
"""On prompts (`dynamics.mechanisms.label_attention`)."""
FUNCTION_VECTOR, FUNCTION_VECTOR_LOG = "function_vector", "function_vector_log"
"""On prompts with shuffled demonstrations (`dynamics.mechanisms.function_vectors`)."""
OF_SEQUENCES = (PREVIOUS, DUPLICATE, PREFIX)
OF_LABELS = (LABEL_ATTENTION, GOLD, PREDICTED, DEMO_TEXT, QUERY, FIRST, LABEL_COPYING)
OF_CHECKPOINTS = (*OF_SEQUENCES, COPYING, COPYING_RANK)
"""Measures without prompts: one value per head and checkpoint, stored with the keys of one of its units."""
