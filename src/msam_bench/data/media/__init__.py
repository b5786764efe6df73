"""Readers of sound, video, pictures, feature files and pickles: what they cannot read is one sentence, a ValueError.

Everything comes back as a tensor. The packages that decode are in the extra `msam[media]`, imported when first needed.
"""
