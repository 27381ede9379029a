"""The command line: ``halftrack`` and ``python -m halftrack``; a file for each group of commands.

Exit codes: 0 done; 1 failed, by a defect (with its traceback) or numerically (in words); 2 unusable
arguments, files or data; 3 done, and the verdict is bad; 4 the last or best weights of a run could
not be saved; 130 / 143 ended by Ctrl-C / SIGTERM.
"""

from halftrack.cli.app import main

__all__ = ["main"]
