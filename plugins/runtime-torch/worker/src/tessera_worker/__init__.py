"""Runs Hugging Face decoders on PyTorch. Its contract is PROTOCOL.md."""

__version__ = "0.1.0"
