"""One method a file; none imports another."""
