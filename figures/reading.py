"""The terms of the page, which opens without a network, in the words of `docs/glossary.md`."""

TERMS = {
    "T1, B1": "the best and the worst candidate, chosen anew at every step on the test rows they are scored on: "
    "optimistic bounds",
    "Held-out T1": "the best candidate on the other half of the test rows",
    "Cross-seed T1": "the same, chosen under the other demonstration seeds as well: the strictest choice",
    "candidate": "a head or an MLP: what selection and reweighting choose from",
    "COMP RW": "component reweighting: one weight per candidate, learnt from K labelled rows",
    "Calib+": "calibration: one factor per label on the full model's probabilities, learnt from the same K rows",
    "less label bias": "from logits less the label bias, without a gold label",
    "label bias": "a preference for one label whatever the text says: each label's mean logit over the rows",
    "null": "the distribution of a curve if answers had nothing to do with labels: test labels are permuted, and the "
    "component is chosen again",
    "band": "what a curve of the null exceeds with probability 1 % at any step or with its plateau",
    "half way": "half way from the mean of the null to the plateau",
    "plateau": "the median of a curve's last three checkpoints",
    "unit": "one checkpoint run on one prompt set: computed, checked and stored as a whole",
    "parts against logits": "the contributions of all components, and a constant that belongs to none; they sum to the "
    "logits. The largest relative error of that sum is given here",
}
"""Term -> meaning, in the words of `docs/glossary.md`."""
