"""Methods: reweighting, calibration, selection and prompts with K labelled examples; calibrations without labels."""
