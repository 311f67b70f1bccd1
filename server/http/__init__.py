"""The server over HTTP: who may call, how much, how it ends."""
