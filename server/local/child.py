"""The process that holds the model: run as a script, by path, with its settings as JSON.

It prints one line of JSON with the endpoint's address, then serves until its standard input
ends, which happens when whoever started it lets go or dies. It imports nothing of ours, so that
it starts alike from any working directory.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Serve the model that `sys.argv[1]` describes until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # llama.cpp writes to stdout from C++; the address is all that may go there
    server = load(json.loads(sys.argv[1]))
    os.write(answers, json.dumps({"address": server.listening_address}).encode() + b"\n")
    os.close(answers)
    while os.read(0, 4096):
        pass
    os._exit(0)  # no destructors: the threads of a call under way would hold them up for its length


def load(settings: dict[str, Any]) -> Any:
    """A running `xllamacpp.Server` for `settings`."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}
    params.port = settings["port"]
    params.ui = False
    params.cache_ram_mib = 256
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context"]
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.cont_batching = True
    params.use_jinja = True
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
