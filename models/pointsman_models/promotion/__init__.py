"""Judge a trained model: the gate, the bootstrap behind it, and the decision to promote. Knows no queue."""
