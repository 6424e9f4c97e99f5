"""Sphinx configuration; `make docs` builds with warnings as errors."""

import weightspace

project = "weightspace"
author = "The weightspace authors"
copyright = author
version = release = weightspace.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"weightspace {release}"
exclude_patterns = ["_build"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
