"""Which worker of pytest-xdist runs a test, and when: what is shared is made once, and what is long begins first."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not list(item.iter_markers("xdist_group")) and _shares_with_its_file(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    # By whole files: one process makes what a file shares anew when it comes back to the file.
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def _shares_with_its_file(item: pytest.Item) -> bool:
    """Return whether a fixture of the test's own file outlives the test: every worker would make it for itself."""
    file = item.nodeid.split("::")[0]
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(one.baseid.split("::")[0] == file and one.scope != "function" for defined in found for one in defined)
