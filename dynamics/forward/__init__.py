"""Forward passes: shared demonstrations, the last prompt token, batches and memory."""
