"""What comparisons and runs show, in words: the one place where reports, studies and the command get sentences."""
