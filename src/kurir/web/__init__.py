"""The doors that speak HTTP: what is served, and how requests become calls of a `Kurir`."""
