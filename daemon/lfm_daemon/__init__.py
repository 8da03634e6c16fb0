"""The resident service: a supervisor that owns the socket, a worker that owns the model, and the
client that `lfm` speaks to them with."""
