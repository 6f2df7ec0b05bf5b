"""A stock as lines for a terminal: what is there, what is not, and where the rest is, the official page first."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.stocktaking.facts import Archive, Mirror
from pipeline.stocktaking.look import Found, Stock


def in_words(stock: Stock) -> Iterator[str]:
    """Where it was looked for, a line for each part, terms, and, where something is missing, where to get it."""
    dataset = stock.dataset
    yield f"{stock.name}: {dataset.title}"
    yield f"  looked in {stock.root}{_read_by(stock)}"
    if not stock.root.is_dir():
        yield "  there is no such folder"
    width = max(len(found.part.path) for found in stock.found)
    for found in stock.found:
        yield from _part(found, width)
    others = [form for form in dataset.forms if form != stock.form]
    if others:
        yield f"  other forms: {', '.join(f'form={form}' for form in others)}"
    yield f"  terms: {dataset.terms}"
    if any(not found.whole for found in stock.found):
        yield from _where(stock)


def _read_by(stock: Stock) -> str:
    forms = list(stock.dataset.forms)
    form = f"form={stock.form}" if len(forms) > 1 else ""
    if stock.form != forms[0]:
        return f" for {form}"
    builds = " and ".join(f"configs/build/{name}.yaml" for name in stock.dataset.builds)
    return f" for {builds}{f' ({form})' if form else ''}"


def _part(found: Found, width: int) -> Iterator[str]:
    state = "whole  " if found.whole else "without" if found.part.without else "PARTLY " if found.files else "MISSING"
    some = found.part.files != 1 or found.part.named is not None
    amount = f"{found.files:,} of {found.expected:,}" if found.expected else f"{found.files:,} (how many: not known)"
    yield f"  {state} {found.part.path:<{width}}  {f'{amount} ' if some else ''}{found.part.what}"
    if found.missing:
        more = ", ..." if found.expected - found.files > len(found.missing) else ""
        yield f"          not there: {', '.join(found.missing)}{more}"
    if found.fault:
        yield f"          {found.fault}"
    if not found.whole and found.part.without:
        yield f"          {found.part.without}"


def _where(stock: Stock) -> Iterator[str]:
    dataset = stock.dataset
    yield f"  official page: {dataset.page}"
    wanted = {found.part.archive for found in stock.found if not found.whole}
    for archive in dataset.archives:
        if archive.name in wanted:
            yield f"  archive: {_archive(archive)}"
    for mirror in dataset.mirrors:
        yield f"  mirror, not the publisher's: {_mirror(mirror)}"
    for note in dataset.notes:
        yield f"  note: {note}"
    yield "  nothing is downloaded by this command"


def _archive(archive: Archive) -> str:
    about = ", ".join(filter(None, (archive.size, archive.digest)))
    return f"{archive.name} from {archive.url} ({about or 'size and hash: not known here'})"


def _mirror(mirror: Mirror) -> str:
    return (
        f"{mirror.url} ({mirror.what}; {f'worked in {mirror.seen}' if mirror.seen else 'not known whether it works'})"
    )
