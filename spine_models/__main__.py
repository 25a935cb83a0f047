"""``python -m spine_models SUBCOMMAND`` is ``spine-models SUBCOMMAND``."""

from spine_models.commands.app import main

main()
