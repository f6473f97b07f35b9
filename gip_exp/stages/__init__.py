"""One file a stage: small adapters from config and store to the pure packages."""
