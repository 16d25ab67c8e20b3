"""What is left out of people's files before anything is learnt from them, and the count of it.

`cleaning` is the order of events; beside it stand one module a question: which rows are broken (`faults`),
which are nearly the same (`near`), on which side a row is (`sides`), what names a person (`private`, and
`planted`, which measures it), how much of each file is taken (`mix`). `findings` is the count, which the
report's data page shows. Nothing here reads a file or knows a format: see `parley.dialects`.
"""
