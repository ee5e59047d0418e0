"""The contract both sides sign: what a job is, what it is called, and how it fails.

Knows neither scikit-learn nor ConfigCat, so that a service can submit jobs with a thin install.
"""
