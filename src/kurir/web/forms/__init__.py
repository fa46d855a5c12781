"""Bodies of requests, read as they come: what both doors need."""
