"""The experiment harness: composes, stores, tracks and reports."""

from gip_exp.import_path import prefer_own_packages

prefer_own_packages()
