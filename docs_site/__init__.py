"""The documentation site: what makes its reference pages, and what puts its sources together."""
