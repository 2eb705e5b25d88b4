"""`python -m atlasbench`: the command line without the script."""

from atlasbench.cli.app import main

if __name__ == "__main__":
    main()
