"""Arrays to numbers and figures: scores, intervals, calibration, baselines, diagnosis, explanations."""
