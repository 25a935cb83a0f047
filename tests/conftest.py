def pytest_collection_modifyitems(items):
    """Put the long groups first: one worker takes such a group whole, and the others share the rest meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
