"""One HTML page with everything that records say; it needs no network and computes nothing."""
