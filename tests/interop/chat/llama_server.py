"""llama.cpp's own server with the model in the file given, until standard input ends. Prints its address when it is ready."""

import os
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.api_keys = [os.environ["LLAMA_KEY"]]
params.n_ctx = 512
params.n_parallel = 1
# More would spin against the kernel on a small machine.
params.cpuparams.n_threads = 1
params.warmup = False
params.ui = False
params.endpoint_slots = True
server = xllamacpp.Server(params)
print(f"address {server.listening_address}", flush=True)
sys.stdin.read()
# Its threads need not be waited for.
os._exit(0)
