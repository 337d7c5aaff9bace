"""``python -m maestro_lab`` is the command ``maestro-lab``."""

from maestro_lab.cli import main

if __name__ == "__main__":
    main()
