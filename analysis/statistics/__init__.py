"""What several analyses compute alike: nulls, choices of components, curves, the bootstrap, onsets, variances."""
