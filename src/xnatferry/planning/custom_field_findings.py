"""Says before a push or copy which custom fields the pages of the server will not show."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.planning.plan import Decision
from xnatferry.xnat.custom_fields import custom_name
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from xnatferry.planning.plan import Plan
    from xnatferry.sources.model import Finding


def custom_field_findings(plan: Plan, forms: Callable[[str, str], Collection[str] | None]) -> Iterator[Finding]:
    """One warning for custom fields that are stored where no page shows them.

    Args:
        plan: The plan of a push or copy.
        forms: Reads the names of fields that forms of a project have for a data type, None if the server has no forms;
            called only if the plan stores custom fields.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for step in plan.steps:
        fields = step.fields if step.decision is Decision.CREATE else step.changes if step.sends else {}
        kind = step.xsi_type or ("xnat:subjectData" if step.address.level is Level.SUBJECT else "")
        names[kind].update(name for path in fields if (name := custom_name(path)) is not None)
    for kind in sorted(kind for kind in names if names[kind]):
        shown = forms(plan.project, kind)
        if shown is None:
            yield found("FLD01", _VARIABLES)
            return
        if not kind.endswith("ScanData") and (hidden := sorted(names[kind] - set(shown))):
            yield found("FLD01", f"no custom form of {plan.project} has {listed(hidden)} of {kind}: {_NO_FORM}")


_VARIABLES = (
    "custom fields are stored as custom variables, as the server is older than XNAT 1.8.4 or does not tell its version;"
    " its pages show only those that the project defines"
)
_NO_FORM = "they are stored, but XNAT's pages do not show them; xnatferry forms makes and installs a form"
