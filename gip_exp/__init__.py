"""The experiment harness: composes, stores, tracks and reports."""
