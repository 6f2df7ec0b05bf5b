"""The documentation as a site: the Markdown pages of this repository, in an order to read them in.

The pages stay where they are and read as well on GitHub. A copy of them is staged with links that lead within the
site (`staging`), joined by a reference made of docstrings (`reference`), and rendered by zensical (`rendering`) in the
order of `navigation`. `python -m website` builds it, offline.
"""
