"""What several analyses compute alike: nulls, choices, curves, resampling, onsets, sources of variance."""
