"""The content-addressed store, manifests, locks, atomic files, disk errors."""
