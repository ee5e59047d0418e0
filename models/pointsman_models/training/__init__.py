"""Train and evaluate one model: pipelines, search, calibration. Knows no gate and no registry alias."""
