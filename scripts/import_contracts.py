"""A contract of import-linter's for code that runs where only its own library is installed."""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils


class StandardLibraryOnly(Contract):
    """The packages import nothing but each other, the standard library and what is excepted.

    `ignore_imports` names the exceptions, such as `camsvc.drivers.gphoto2.** -> gphoto2`.
    """

    root = fields.StringField()
    packages = fields.SetField(subfield=fields.StringField())
    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)
    unmatched_ignore_imports_alerting = fields.EnumField(
        contract_utils.AlertLevel, default=contract_utils.AlertLevel.ERROR
    )

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every import of a third-party library or of another package of `root`."""
        warnings = contract_utils.remove_ignored_imports(
            graph=graph,
            ignore_imports=self.ignore_imports,  # type: ignore[arg-type]  # fields' descriptors
            unmatched_alerting=self.unmatched_ignore_imports_alerting,  # type: ignore[arg-type]
        )
        packages = {f"{self.root}.{name}" for name in self.packages}  # type: ignore[attr-defined]
        allowed = {str(self.root), *packages, *sys.stdlib_module_names}
        inside = [m for m in graph.modules if ".".join(m.split(".")[:2]) in packages]
        broken = sorted(
            (module, imported)
            for module in inside
            for imported in graph.find_modules_directly_imported_by(module)
            if not allowed
            & {imported.split(".")[0], ".".join(imported.split(".")[:2])} - {"camsvc"}
            and imported != self.root
        )
        return ContractCheck(kept=not broken, warnings=warnings, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the forbidden imports."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} is not allowed to import {imported}", bold=False)
