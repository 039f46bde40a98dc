"""Evaluation: metrics, sweeps, figures."""
