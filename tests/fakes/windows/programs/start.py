"""The one program of the stand-in: `python3 -I -S start.py WHAT FOLDER …`.

Short, for Python compiles it at every start; the modules beside it are kept compiled.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = False


def main() -> int:
    """Do what the first argument names."""
    what, folder = sys.argv[1:3]
    if what == "login":
        from programs import login_shell

        return login_shell.main(folder, sys.argv[3:])
    if what == "keys":
        from programs import authorized_keys

        return authorized_keys.main(folder, sys.argv[3:])
    if what == "instance":
        from programs import instance

        instance.main(folder, sys.argv[3], int(sys.argv[4]))
        return 0
    if what == "become":
        from programs import direct

        direct.become(sys.argv[3])
    if what == "wine":
        from programs import wine_run

        return wine_run.answer(folder, *sys.argv[3:6])
    from programs import wsl_exe

    return wsl_exe.boot(folder, sys.argv[3])


if __name__ == "__main__":
    # At once: taking Python down takes as long as most of these commands.
    status = main()
    sys.stdout.flush()
    os._exit(status)
