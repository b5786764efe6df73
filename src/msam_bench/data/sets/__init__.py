"""The published data sets of the bench, a file or a package each."""
