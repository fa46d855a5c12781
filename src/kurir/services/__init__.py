"""Long-running loops. Each fits on a screen; what they decide with is in `core`, what they remember in the store."""
