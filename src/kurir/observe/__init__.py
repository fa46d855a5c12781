"""Observation: listeners on frozen events. Logs, metrics, traces and alerts subscribe here."""
