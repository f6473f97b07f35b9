"""Files and the content-addressed store: writing whole files, manifests, locks, disk errors."""
