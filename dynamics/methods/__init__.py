"""Methods that use K labelled examples: reweighting, calibration, selection, prompting baselines."""
