"""What other programs import: ``padtrace.dataset``, the data for training."""
