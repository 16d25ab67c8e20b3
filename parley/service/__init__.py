"""The service: one FastAPI application over the store and two seams, `Responder` and `RunView`.

`app.create_app` puts it together. `openai` speaks to programs with a bearer key, `chat` to people
with a session, `operations` to whoever looks after it; what they share is in `common`. No model
and no torch in here: what answers comes in as an argument.
"""
