"""Do the plugins help, and what do they cost? One subcommand for each kind of measurement.

    .venv/bin/python benchmarks/plugins.py prompting --help

Each subcommand is a module beside this one, with `DESCRIPTION`, `add_arguments(parser)` and `run(options)`.
"""

import argparse
from importlib import import_module

SUBCOMMANDS = {
    "glossary": "plugins_glossary",
    "guard": "plugins_guard",
    "names": "plugins_names",
    "prompting": "plugins_prompting",
    "redact": "plugins_redact",
    "rewrite": "plugins_rewrite",
    "retrieval": "plugins_retrieval",
    "verify": "plugins_verify",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subcommands = parser.add_subparsers(required=True)
    for name, module_name in SUBCOMMANDS.items():
        module = import_module(module_name)
        description = module.DESCRIPTION
        made = subcommands.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(made)
        made.set_defaults(run=module.run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
