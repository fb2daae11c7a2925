"""No module needs itself: not at its head, and not inside a function, where a circle shows only when that is called."""

from __future__ import annotations

import grimp

PACKAGES = ("apex_ray", "cluster", "lstm", "trainkit", "wavenet")


def test_no_import_circle() -> None:
    imports = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert len(imports.modules) > 100
    circles = {
        (importer, imported)
        for importer in imports.modules
        for imported in imports.find_modules_directly_imported_by(importer)
        if imports.chain_exists(importer=imported, imported=importer)
    }
    assert not circles, "each of these imports what needs it"
