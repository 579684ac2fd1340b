"""Influence of attention values on the loss, through a flash-attention-like kernel: no N × N matrix in memory."""
