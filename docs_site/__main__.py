"""Writes all reference pages: python -m docs_site"""

from docs_site import api, commands, errors, settings
from docs_site.pages import write

PAGES = {"commands.md": commands.page, **settings.PAGES, "api.md": api.page, "errors.md": errors.page}

if __name__ == "__main__":
    write(PAGES)
