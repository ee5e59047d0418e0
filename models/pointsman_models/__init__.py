"""The machine learning, pure: it knows no queue, no flag and no Redis. Only here is scikit-learn imported."""
