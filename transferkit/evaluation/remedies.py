"""What a rule of diagnosis says to try: options that the run does not use yet. Pure."""

from __future__ import annotations

from transferkit.evaluation.symptoms import Case, Remedy


def less_freedom(case: Case) -> list[Remedy]:
    """Remedies against overfitting that the run does not use yet."""
    remedies = more_views(case)
    if case.number("dropout") < 0.5:
        remedies.append(case.remedy("a head that relies on no single feature", "--dropout 0.5"))
    widths = head_widths(case)
    if widths and max(widths) > 64:
        smaller = ",".join(str(max(32, width // 4)) for width in widths)
        remedies.append(case.remedy("a smaller head", f"--head-width {smaller}"))
    if case.word("unfreeze", "none") != "none":
        remedies.append(case.remedy("fewer weights to bend", "--unfreeze none"))
    if case.number("l2") == 0:
        remedies.append(case.remedy("smaller weights", "--l2 1e-4"))
    return remedies


def head_widths(case: Case) -> list[int]:
    """Hidden widths of the run's head; none where it is linear, or where nothing is known of it."""
    widths = case.context.settings.get("head_width") if case.word("head") != "linear" else None
    listed = widths if isinstance(widths, list | tuple) else [widths]
    return [int(width) for width in listed if isinstance(width, int | float)]


def larger_head(case: Case) -> list[Remedy]:
    """A remedy by a head that can bend more, up to a width at which more is hardly ever better."""
    if case.word("head") == "linear":
        return [case.remedy("a head that can bend", "--head mlp --head-width 256")]
    widths = head_widths(case)
    if not widths or max(widths) >= 1024:
        return []
    return [case.remedy("a larger head", f"--head-width {','.join(str(2 * width) for width in widths)}")]


def more_views(case: Case) -> list[Remedy]:
    """A remedy by augmentation that the run does not use yet."""
    augment, views = case.word("augment", "none"), int(case.number("views", 1))
    found = case.word("views") == "auto"  # as many as help, of those that are made so
    if augment != "strong":
        stronger = {"none": "medium", "light": "medium"}.get(augment, "strong")
        many = "" if found else f" --views {max(4, views)}"
        return [case.remedy("show each picture in more ways", f"--augment {stronger}{many}")]
    more = views < 16 and not found
    return [case.remedy("show each picture in more ways", f"--views {2 * views}")] if more else []


def rate(case: Case, factor: float) -> str:
    """The head's learning rate times `factor`, at most 10; one that nobody gave is read from run or curves.

    Args:
        case: the run.
        factor: above 0.
    """
    known: float | None = case.number("learning_rate", 0.0)
    if not known:  # "auto", or the recipe's own
        known = case.context.learning_rate
    if known is None:
        curve = case.column("learning_rate")
        known = float(curve.max()) if len(curve) else 1e-3
    return f"{min(10.0, float(known) * factor):.2g}"
