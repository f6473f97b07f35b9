"""The experiment harness: configuration, stages, store, tracking and reports."""

from gip_exp.import_path import prefer_own_packages

prefer_own_packages()
