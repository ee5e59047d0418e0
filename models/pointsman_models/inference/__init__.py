"""The serving classifier and its fused scorer. Knows no training."""

__all__ = ["classifier", "linear_model", "scorer"]
