"""Mechanisms: what heads attend to, what they write towards it, and what the model loses without a component."""
