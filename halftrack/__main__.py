"""``python -m halftrack``: the command line where no ``halftrack`` is on the path."""

from halftrack.cli import main

main()
