"""The bench: data, runs, comparisons and reports for the methods of `msam`, behind the command `msam`.

msam compare                 # train the methods on the embedded data, print the table, write the report
python -m msam_bench compare
"""
