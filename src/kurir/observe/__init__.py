"""Observation: listeners on frozen events. The log subscribes here."""
