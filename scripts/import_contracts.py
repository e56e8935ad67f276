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
        root = str(self.root)
        packages = {f"{root}.{name}" for name in self.packages}  # type: ignore[attr-defined]
        allowed = {*packages, *sys.stdlib_module_names}

        def place(module: str) -> str:
            parts = module.split(".")
            return ".".join(parts[:2]) if parts[0] == root else parts[0]

        broken = sorted(
            (module, imported)
            for module in graph.modules
            if place(module) in packages
            for imported in graph.find_modules_directly_imported_by(module)
            if imported != root and place(imported) not in allowed
        )
        return ContractCheck(kept=not broken, warnings=warnings, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the forbidden imports."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} is not allowed to import {imported}", bold=False)
