"""What a report says of the classes: bars, the confusion of the worst, the table of all of them."""

from ovss.report import plots
from ovss.report.findings import Findings
from ovss.report.markup import cell, heading, percent, plot, shown, swatch, table, text

ALL_BARS, FEWER_BARS = 60, 30  # up to the one all classes have a bar; else that many of the best and of the worst
CONFUSED = 15


def name(findings: Findings, index: int) -> str:
    """A class with its colour."""
    return swatch(findings.colours[index].tolist()) + text(findings.classes[index])


def per_class(findings: Findings) -> str:
    """Bars of the classes in the ground truth; of very many the best and the worst, and a curve of all."""
    ranked = findings.ranked()
    if len(ranked) <= ALL_BARS:
        said = f"The {len(ranked)} classes in the ground truth, highest IoU first."
        half = (len(ranked) + 1) // 2 if len(ranked) > ALL_BARS // 4 else len(ranked)
        return _per_class(findings, said, {"Classes": ranked[:half], "Classes, continued": ranked[half:]})
    said = f"The {FEWER_BARS} best and the {FEWER_BARS} worst of {len(ranked)} classes in the ground truth."
    values = [findings.IoU[index] for index in ranked]
    curve = f"IoU of {len(ranked)} classes in falling order, from {values[0]:.2f} to {values[-1]:.2f}"
    chunks = {"Best classes": ranked[:FEWER_BARS], "Worst classes": ranked[-FEWER_BARS:]}
    return _per_class(findings, said, chunks) + plot(plots.ranking(values), curve)


def _per_class(findings: Findings, said: str, chunks: dict[str, list[int]]) -> str:
    drawn = ""
    for title, chunk in chunks.items():
        if chunk:
            names, values = ([shown(findings.classes[k]) for k in chunk], [findings.IoU[k] for k in chunk])
            listed = ", ".join(f"{word} {value:.2f}" for word, value in zip(names, values, strict=True))
            drawn += plot(plots.bars(names, values), f"{title} by IoU: {listed}")
    said = f'<p>{said} All are in the <a href="#all">table</a>.</p>'
    return heading("per-class", "IoU per class") + f'{said}<div class="plots">{drawn}</div>\n'


def confusion(findings: Findings) -> str:
    """Matrix and list of the classes with the lowest IoU."""
    chosen = findings.ranked()[::-1][:CONFUSED]
    given = findings.given_to(chosen, CONFUSED)
    true, answers = ([shown(findings.classes[index]) for index in indices] for indices in (chosen, given))
    matrix = plots.heat_map(true, answers, findings.confusion(chosen, given))
    rows = [
        cell(name(findings, index), "name")
        + cell(percent(findings.IoU[index]), "number")
        + cell(percent(findings.accuracy[index]), "number")
        + cell(_taken_for(findings, index))
        for index in chosen
    ]
    titles = {"class": "", "IoU": "number", "accuracy": "number", "taken for, % of its pixels": ""}
    return (
        heading("confusion", f"The {len(chosen)} worst classes" if len(chosen) > 1 else "The worst class")
        + "<p>Classes in the ground truth by rising IoU, of equal ones that with more pixels first. A row says what "
        "the pixels of one class were given, in percent; framed is what is right.</p>"
        + f'<div class="wide">{plot(matrix, "Confusion matrix of the classes in the table that follows")}</div>'
        + f'<div class="wide">{table(titles, rows)}</div>\n'
    )


def class_table(findings: Findings) -> str:
    """Every class, to be sorted by any column."""
    pixels, predicted = findings.pixels.tolist(), findings.predicted.tolist()
    rows = [
        cell(str(index), "number")
        + cell(name(findings, index), "name")
        + cell(percent(findings.IoU[index]), "number")
        + cell(percent(findings.accuracy[index]), "number")
        + cell(f"{pixels[index]:,}", "number")
        + cell(f"{predicted[index]:,}", "number")
        + cell(_taken_for(findings, index))
        for index in range(len(findings.classes))
    ]
    numbers = dict.fromkeys(("IoU", "accuracy", "true pixels", "predicted pixels"), "number")
    titles = {"no.": "number", "class": "text", **numbers, "taken for, % of its pixels": ""}
    return (
        heading("all", "All classes")
        + "<p>IoU and accuracy in percent. A class that is not in the ground truth has no accuracy, one that is not in "
        "a prediction either has no IoU.</p>"
        + '<div class="classes" tabindex="0" role="region" aria-labelledby="all">'
        + table(titles, rows, ' id="classes"')
        + "</div>\n"
    )


def _taken_for(findings: Findings, index: int) -> str:
    taken = findings.taken_for(index)
    return ", ".join(f"{text(findings.classes[other])} {share:.1f}" for other, share in taken)
