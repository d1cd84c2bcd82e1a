"""The page's parts and their places, and who is called when they are used (`ovss.page.desk`). Imports Gradio.

Who presses anything waits in a queue: one run at a time.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from ovss.page.desk import Desk, forget
from ovss.page.examples import KNOWN_WORDS, Example
from ovss.page.markup import examples_html, header_html, message_html, preview_html
from ovss.page.systems import System

TITLE = "ovss: open-vocabulary segmentation"
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # events that run a model take turns
BARE: dict[str, Any] = {"apply_default_css": False}
QUEUE = 32  # events that may wait; more are told to come back
SESSIONS = 64  # browsers whose last picture is kept; an hour after it is closed a page is forgotten
HOUR = 3600
TYPES = ["image", ".jp2", ".ppm", ".pgm", ".pbm", ".tif", ".tiff"]


def layout(systems: tuple[System, System], samples: list[Example], offline: bool, folder: Path) -> gr.Blocks:
    """The page.

    Args:
        samples: pictures to try; the first is chosen when the page opens.
        offline: whether a system knows the words of drawn scenes alone.
        folder: where results to download are written.
    """
    desk = Desk(systems, samples, folder)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        picture = gr.State(samples[0].picture, time_to_live=HOUR)
        # The browser's word for the picture that it shows: a server that has forgotten it has the first one again.
        chosen = gr.Textbox(samples[0].picture.number, visible="hidden")
        run = gr.State(None, time_to_live=HOUR, delete_callback=forget)
        gr.HTML(header_html(systems), elem_id="header", **BARE)
        with gr.Row(equal_height=False, elem_id="desk"):
            with gr.Column(scale=1, min_width=300, elem_id="given"):
                file = gr.File(label="Picture", file_types=TYPES, height=130, elem_id="file")
                script = _file("examples.js")
                strip = gr.HTML(examples_html(samples), js_on_load=script, elem_id="examples", **BARE)
                preview = gr.HTML(preview_html(samples[0].picture), elem_id="preview", **BARE)
                words = gr.Textbox(
                    samples[0].words,
                    label="Words, separated by commas",
                    info=f"The embedded models know drawn scenes alone: {KNOWN_WORDS}." if offline else None,
                    lines=3,
                    max_lines=12,
                    elem_id="words",
                )
                press = gr.Button("Segment", variant="primary", elem_id="segment")
                message = gr.HTML(message_html(""), elem_id="message", **BARE)
                download = gr.DownloadButton("Download result (zip)", interactive=False, elem_id="download")
            with gr.Column(scale=3, min_width=320, elem_id="found"):
                script = "\n".join(map(_file, ("view.js", "page.js", "views.js")))
                seen = _file("viewer.html")
                viewer = gr.HTML(None, html_template=seen, js_on_load=script, elem_id="viewer", **BARE)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        file.upload(desk.upload, file, [file, picture, chosen, preview, message], **quiet)
        strip.example(desk.example, None, [picture, chosen, words, preview, message], **quiet)
        press.click(
            desk.segment,
            [picture, chosen, words, run],
            [run, viewer, download, message],
            api_visibility="private",
            show_progress_on=[viewer],
            **MODEL,
        )
        viewer.scores(desk.scores, run, viewer, trigger_mode="always_last", **quiet, **MODEL)
        viewer.patch(desk.patch, run, viewer, trigger_mode="always_last", **quiet, **MODEL)
    page.state_session_capacity = SESSIONS
    return page.queue(max_size=QUEUE)


def _file(name: str) -> str:
    return resources.files("ovss.page").joinpath(name).read_text("utf-8")
