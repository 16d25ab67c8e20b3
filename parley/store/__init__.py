"""The database, and only here: tables, migrations, and functions (session, values) → values.

One file an aggregate: `keys` (bearer keys for `/v1`), `logins` (one-time links and the sessions
they open). Functions do not commit; the caller's `with sessions.begin() as session:` does.
Time is an argument: `now`, in whole seconds since 1970.
"""
