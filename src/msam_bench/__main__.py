"""`python -m msam_bench` is the command `msam`."""

from msam_bench.cli import main

if __name__ == "__main__":
    main()
