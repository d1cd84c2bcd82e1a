"""What the page's parts do. Every method answers with the new values of the parts that `ovss.page.layout` wires to it.

What goes wrong becomes a line on the page, and the page goes on. Imports Gradio, for its words for "as it was" alone.
"""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from ovss.page.archive import write_archive
from ovss.page.examples import Example
from ovss.page.intake import Picture, parse_words, read_picture
from ovss.page.markup import message_html, preview_html
from ovss.page.payload import Message, patch_message, run_message, scores_message
from ovss.page.systems import Run, ScoreMaps, System, compare, patch_maps
from ovss.page.tidy import FULL, MAX_STORED, stored

logger = logging.getLogger(__name__)

NO_PICTURE = "the picture was chosen too long ago: drop it again, or take an example"
NO_RUN = "nothing has been segmented yet, or too long ago: press Segment"
GONE = "the file has gone: send it again"
AS_IT_WAS = (gr.skip(), gr.skip(), gr.skip())
UNEXPECTED = "the server could not do this; its log says why"


class Desk:
    """Two systems, pictures to try, and the `folder` of what users send and may download."""

    def __init__(self, systems: tuple[System, System], samples: list[Example], folder: Path):
        self.systems, self.samples, self.folder = systems, samples, folder.resolve()
        self.score_maps = ScoreMaps(systems)

    def upload(self, sent: str) -> list[Any]:
        """A file was sent: file, picture, its number, preview, message."""
        path = Path(sent).resolve()
        try:
            if not path.is_relative_to(self.folder):
                raise FileNotFoundError(path)
            picture = read_picture(path)
        except FileNotFoundError:
            return [None, *AS_IT_WAS, message_html(GONE)]
        except Exception as error:
            return [None, *AS_IT_WAS, message_html(explain(error))]
        return [None, picture, picture.number, preview_html(picture), message_html("")]

    def example(self, event: gr.EventData) -> list[Any]:
        """An example was pressed: picture, its number, words, preview, message."""
        sample = self.samples[_whole(event, "index", len(self.samples))]
        picture = sample.picture
        return [picture, picture.number, sample.words, preview_html(picture), message_html("")]

    def segment(self, picture: Picture | None, chosen: str, words: str, before: Run | None) -> list[Any]:
        """Segment was pressed: run, viewer, download, message."""
        try:
            if picture is None or picture.number != chosen:
                raise ValueError(NO_PICTURE)
            if stored(self.folder) > MAX_STORED:
                raise ValueError(FULL)
            run, found = compare(self.systems, picture, parse_words(words or ""))
            run.archive = write_archive(self.folder, found)
            shown = _sent(run_message(self.systems, run, found))
        except Exception as error:
            return [*AS_IT_WAS, message_html(explain(error))]
        forget(before)
        return [run, shown, gr.DownloadButton(value=str(run.archive), interactive=True), message_html("")]

    def scores(self, run: Run | None, event: gr.EventData) -> Message:
        """A class was chosen: viewer."""

        def answer(run: Run) -> Message:
            index = _whole(event, "index", len(run.classes))
            return scores_message(self.systems, run, self.score_maps(run), index)

        return self._answer(run, answer)

    def patch(self, run: Run | None, event: gr.EventData) -> Message:
        """A patch was pressed: viewer."""

        def answer(run: Run) -> Message:
            place = _fraction(event, "x"), _fraction(event, "y")
            return patch_message(run, place, patch_maps(self.systems, run, place))

        return self._answer(run, answer)

    def _answer(self, run: Run | None, answer: Callable[[Run], Message]) -> Message:
        try:
            if run is None:
                raise ValueError(NO_RUN)
            return _sent(answer(run))
        except Exception as error:
            return _sent({"kind": "error", "text": explain(error)})


def forget(run: Run | None) -> None:
    """Remove what a run left on the disk."""
    if run is not None and run.archive is not None:
        shutil.rmtree(run.archive.parent, ignore_errors=True)


def explain(error: Exception) -> str:
    """What the user is told. Users' mistakes say what they are; anything else goes to the log with its traceback."""
    if isinstance(error, ValueError):
        return str(error)
    logger.error("the page could not answer", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return "there is not enough memory for this: take a smaller picture or fewer words"
    return UNEXPECTED


def _sent(message: Message) -> Message:
    """Numbered by time: the browser takes no notice of a message that equals the last."""
    return {**message, "sent": time.time_ns()}


def _whole(event: gr.EventData, name: str, count: int) -> int:
    """A whole number below `count` that a browser sent. Raises ValueError."""
    value = _value(event, name)
    if not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"{name} {value!r}: expected 0 to {count - 1}")
    return value


def _fraction(event: gr.EventData, name: str) -> float:
    """A number of 0 to 1 that a browser sent. Raises ValueError."""
    value = _value(event, name)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} {value!r}: expected a number of 0 to 1")
    return float(value)


def _value(event: gr.EventData, name: str) -> Any:
    return event._data.get(name) if isinstance(event._data, dict) else None
