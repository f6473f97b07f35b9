"""Selection methods to compare with, all returning the same `Selection`."""
