"""Groups the options of a command under headings in ``--help``, in docs/cli.md and in the manual page."""

from __future__ import annotations

from typing import ClassVar

import click

#: Headings in their order, with the parameter names of their options.
_SECTIONS = {
    "Source": "kind templates preset rules sourcedata only exclude max_sessions shard",
    "Destination": "project existing_only to_server to_profile to_project to_user to_config",
    "Server": "server user password config profile ca insecure",
    "Mapping": "subject session session_template session_type resource level assessor assessor_type format content tags"
    " type series_description quality date clean_labels custom_fields",
    "Checks": "allow_incomplete force scrub allow_private deep",
    "Transfer": "on_conflict update_fields gzip snapshots attach_report form workers cluster bwlimit max_body backup"
    " record",
    "Output": "dry_run yes output html report depth json quiet verbose help _click_default_help",
}
_SECTION_OF = {name: section for section, names in _SECTIONS.items() for name in names.split()}


class SectionedCommand(click.Command):
    """A command whose options are grouped by section.

    Attributes:
        server_section: The section of the options that name a server.
    """

    server_section: ClassVar[str] = "Destination"

    def section_of(self, parameter: click.Parameter) -> str:
        """The section of an option.

        Raises:
            KeyError: The option is in no section.
        """
        section = _SECTION_OF[parameter.name or ""]
        return self.server_section if section == "Server" else section

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        for title, records in sections_of(ctx):
            with formatter.section(title):
                formatter.write_dl(records)


class DownloadCommand(SectionedCommand):
    """A command that reads from the server that its options name."""

    server_section: ClassVar[str] = "Source"


def sections_of(context: click.Context) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings with names and help of their options; one heading ``Options`` for a command without sections."""
    command = context.command
    found: dict[str, list[tuple[str, str]]] = {}
    if isinstance(command, SectionedCommand):
        found = {section: [] for section in _SECTIONS}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            section = command.section_of(parameter) if isinstance(command, SectionedCommand) else "Options"
            found.setdefault(section, []).append(record)
    return [(section, records) for section, records in found.items() if records]
