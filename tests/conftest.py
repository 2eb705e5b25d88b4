"""Its folder is where tests import `hand_made` from."""
