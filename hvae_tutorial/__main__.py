"""`python -m hvae_tutorial` is `hvae`."""

from hvae_tutorial.cli import main

if __name__ == "__main__":
    main()
