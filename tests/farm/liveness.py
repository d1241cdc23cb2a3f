"""What a supervisor hears, and a thread that hangs.
liveness.py listen FOLDER NAME...: a socket FOLDER/NAME each; writes every datagram to FOLDER/NAME.heard, with the time
    before it.
liveness.py hold PID THREAD: stops the one thread whose name begins so, as a debugger does, until standard input ends."""
import ctypes
import os
import selectors
import socket
import sys
import time

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WAIT_ALL = 0x4206, 0x4207, 17, 0x40000000


def listen(folder, names):
    selector = selectors.DefaultSelector()
    for name in names:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(os.path.join(folder, name))
        selector.register(s, selectors.EVENT_READ, open(os.path.join(folder, name + ".heard"), "w", buffering=1))
    while True:
        for key, _ in selector.select():
            text = key.fileobj.recv(4096).decode().replace("\n", " ")
            print(f"{time.time():.3f} {text}", file=key.data)


def hold(pid, name):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request, thread):
        if libc.ptrace(request, thread, None, None) < 0:
            sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")

    def name_of(thread):
        with open(f"/proc/{pid}/task/{thread}/comm") as f:
            return f.read().strip()

    names = {t: name_of(t) for t in os.listdir(f"/proc/{pid}/task")}
    exact = [t for t in names if names[t] == name]
    threads = exact or [t for t in names if names[t].startswith(name)]
    if len(threads) != 1:
        sys.exit(f"{len(threads)} threads are called {name}")
    thread = int(threads[0])
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WAIT_ALL)
    print("holds", flush=True)
    sys.stdin.read()
    ptrace(PTRACE_DETACH, thread)


if sys.argv[1] == "listen":
    listen(sys.argv[2], sys.argv[3:])
else:
    hold(int(sys.argv[2]), sys.argv[3])
