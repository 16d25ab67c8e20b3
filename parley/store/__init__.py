"""The database, and only here: tables, migrations, and functions (session, values) → values.

One file an aggregate, as `users`, `messages`, `generations`, `keys`; `turns` is what several of them
do together. Functions do not commit; the caller's `with writing(sessions) as session:` does, which
is for whatever writes, also if it reads first. Time is an argument: `now`, in whole seconds since 1970.
"""
