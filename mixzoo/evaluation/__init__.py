"""Evaluation of a trained model: metrics and pictures."""
