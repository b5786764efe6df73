"""Integrations: one file an engine, each the only importer of it."""
