"""The serving classifier and its fused scorer. Knows no training."""
