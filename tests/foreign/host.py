"""The other host: runs a .wasm under wasmtime with WASI preview 1.

    host.py [--dir HOST::GUEST[:ro]]... [--env K=V]... MODULE [ARGS]

Standard streams are this process's; so is the exit code (134 for a trap).
"""

import sys

import wasmtime

argv = sys.argv[1:]
wasi = wasmtime.WasiConfig()
env = []
while argv and argv[0].startswith("--"):
    option, value = argv.pop(0), argv.pop(0)
    if option == "--dir":
        host, guest = value.split("::", 1)
        writable = True
        if guest.endswith(":ro"):
            guest, writable = guest[:-3], False
        wasi.preopen_dir(host, guest, writable)
    elif option == "--env":
        env.append(tuple(value.split("=", 1)))
    else:
        sys.exit(f"host.py: no option {option}")
wasi.env = env
wasi.argv = [argv[0].rsplit("/", 1)[-1], *argv[1:]]
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()

engine = wasmtime.Engine()
store = wasmtime.Store(engine)
store.set_wasi(wasi)
linker = wasmtime.Linker(engine)
linker.define_wasi()
try:
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, argv[0]))
    instance.exports(store)["_start"](store)
except wasmtime.ExitTrap as end:
    sys.exit(end.code)
except wasmtime.Trap as trap:
    print(trap, file=sys.stderr)
    sys.exit(134)
