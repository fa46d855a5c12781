"""The stores: facts kept durably, behind `ports.Store`."""
