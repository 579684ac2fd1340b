"""Influence of attention values on the loss, by a kernel like flash attention: no N × N matrix in memory."""
