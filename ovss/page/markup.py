"""The parts of the page that are plain HTML: heading, preview, examples, messages. Names are text on it, always."""

from ovss.page.examples import Example
from ovss.page.intake import MAX_BYTES, MAX_PIXELS, Picture
from ovss.page.payload import picture_url
from ovss.page.systems import System
from ovss.report.markup import text

PREVIEW, THUMBNAIL = 480, 128  # long sides, pixels


def header_html(systems: tuple[System, System]) -> str:
    """What this is, and which models answer."""
    models = " · ".join(f"{text(system.title)}: <code>{text(system.name)}</code>" for system in systems)
    return f"<h1>Open-vocabulary segmentation</h1><p>Your picture, your words. {models}</p>"


def preview_html(picture: Picture) -> str:
    """The chosen picture, its name and its size."""
    height, width = picture.pixels.shape[:2]
    note = f" ({text(picture.note)})" if picture.note else ""
    return (
        f'<figure><img src="{picture_url(picture.pixels, PREVIEW)}" alt="The chosen picture">'
        f"<figcaption>{text(picture.name)}, {width} x {height}{note}</figcaption></figure>"
    )


def examples_html(samples: list[Example]) -> str:
    """A row of small pictures to press; data-index says which."""
    buttons = "".join(
        f'<button type="button" data-index="{index}" title="{text(sample.picture.name)}"><img src="'
        f'{picture_url(sample.picture.pixels, THUMBNAIL)}" alt="Example {text(sample.picture.name)}"></button>'
        for index, sample in enumerate(samples)
    )
    return (
        f'<p class="soft">Up to {MAX_BYTES // 2**20} MB; above {MAX_PIXELS // 10**6} megapixels it is scaled down. '
        f'Or an example:</p><div class="strip" role="group" aria-label="Examples">{buttons}</div>'
    )


def message_html(message: str) -> str:
    """A line for the user, or none."""
    return f'<p role="alert">{text(message)}</p>' if message else ""
