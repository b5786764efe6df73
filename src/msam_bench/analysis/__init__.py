"""Analysis of finished runs: statistics, rankings, probes and flatness."""
