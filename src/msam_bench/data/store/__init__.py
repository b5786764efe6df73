"""Prepared stores: a folder of tensors with a manifest, built chunk by chunk."""
