"""``python -m lrisc`` is the command line."""

from lrisc.cli import main

if __name__ == "__main__":
    main()
