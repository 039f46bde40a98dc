"""The layout of the page, and what its buttons do."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lrisc.app import compare
from lrisc.app.editor import bound
from lrisc.app.reader import read_upload_picture
from lrisc.app.region import MAX_BOXES_TEXT, PAINTED, REGIONS
from lrisc.app.service import CHANNEL_CHOICES, SIZES, Answer, Request, Service, sentence
from lrisc.link.waveform.numerology import WAVEFORMS
from lrisc.refinement.objective import OBJECTIVES, ObjectiveName
from lrisc.roi.region import DEFAULT_GAMMA

TITLE = "LRISC: a photograph over a noisy channel"
_INTRO = (
    "# LRISC\nA photograph over a noisy radio channel in very few symbols. Choose one, set the "
    "channel, send it. Everything happens on the machine that serves this page."
)
# Not the one that shares pictures with other sites.
_BUTTONS: Any = ["download", "fullscreen"]
# Everything that runs the networks waits in one line.
_MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}


def build_page(service: Service, sample: Path) -> gr.Blocks:
    """Lay out the page.

    Args:
        service: does the work.
        sample: a photograph for visitors who have none at hand.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_INTRO)
        with gr.Tab("Send a photograph"):
            _send_tab(service, sample)
        with gr.Tab("Decode a recording"):
            _decode_tab(service)
    page.run_history = False
    return page


def _send_tab(service: Service, sample: Path) -> None:
    rivals = [compare.OTHERS[name] for name in compare.available()]
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            photo = gr.File(
                label="Photograph: drop a file here, or choose one",
                type="filepath",
                height=120,
                elem_id="photo",
            )
            take_sample = gr.Button("Take the sample portrait", size="sm", elem_id="take-sample")
            editor = gr.ImageEditor(
                label="Paint the region that matters",
                type="pil",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(
                    colors=["rgba(255, 64, 0, 0.55)"], color_mode="fixed", default_size=40
                ),
                buttons=[],
                height=380,
                format="png",
                elem_id="editor",
            )
            bound(editor, service.workspace)
            with gr.Group():
                snr = gr.Slider(
                    -6, 24, 10, step=0.5, label="SNR, dB", info="Es/N0 per symbol", elem_id="snr"
                )
                cbr = gr.Dropdown(
                    ["1/96", "0.017", "1/48", "1/24", "1/12"],
                    value="1/48",
                    allow_custom_value=True,
                    label="CBR",
                    info="ceiling on all symbols per 3·H·W: a fraction or a number",
                    elem_id="cbr",
                )
                channel = gr.Dropdown(
                    list(CHANNEL_CHOICES),
                    value=next(iter(CHANNEL_CHOICES)),
                    label="Channel",
                    elem_id="channel",
                )
                waveform = gr.Dropdown(
                    list(WAVEFORMS),
                    value=WAVEFORMS[0],
                    label="Waveform",
                    info="symbols: one sample each, the receiver knows the channel; OFDM: it has "
                    "samples alone, and estimates everything",
                    elem_id="waveform",
                )
            with gr.Group():
                region = gr.Radio(
                    list(REGIONS),
                    value=PAINTED,
                    label="Region of interest",
                    info="without paint there is no region",
                    elem_id="region",
                )
                boxes = gr.Textbox(
                    label="Boxes",
                    placeholder="x,y,w,h in pixels; several with spaces between",
                    max_length=MAX_BOXES_TEXT,
                    elem_id="boxes",
                )
                strength = gr.Slider(
                    0.1,
                    1,
                    DEFAULT_GAMMA,
                    step=0.05,
                    label="ROI strength (gamma)",
                    info="smaller favours the region more; 1: not at all",
                    elem_id="strength",
                )
            with gr.Accordion("More", open=False):
                steps = gr.Slider(1, 8, 1, step=1, label="Diffusion steps", elem_id="steps")
                effort = gr.Slider(
                    0,
                    20,
                    0,
                    step=1,
                    label="Effort",
                    info="iterations that improve the symbols of this photograph",
                    elem_id="effort",
                )
                objective = gr.Radio(
                    list(OBJECTIVES),
                    value=OBJECTIVES[0],
                    label="What effort improves",
                    info="perception: how it looks; distortion: squared error",
                    elem_id="objective",
                )
                size = gr.Dropdown(
                    list(SIZES), value=next(iter(SIZES)), label="Longer side", elem_id="size"
                )
                seed = gr.Number(
                    0, label="Seed of the noise", precision=0, minimum=0, elem_id="seed"
                )
            send = gr.Button("Send", variant="primary", elem_id="send")
        with gr.Column(scale=3, min_width=320):
            status = gr.HTML(_status("Nothing is sent yet."), elem_id="status")
            pair = gr.ImageSlider(
                label="Source (left) and reconstruction (right)",
                type="filepath",
                format="png",
                interactive=False,
                max_height=560,
                elem_id="pair",
            )
            figures = gr.HTML(elem_id="figures")
            with gr.Row():
                region_map = gr.Image(
                    label="Region of interest",
                    interactive=False,
                    format="jpeg",
                    buttons=_BUTTONS,
                    visible=False,
                    elem_id="roi-map",
                )
                rate_map = gr.Image(
                    label="Rate map, yellow: most symbols",
                    interactive=False,
                    format="jpeg",
                    buttons=_BUTTONS,
                    elem_id="rate-map",
                )
            with gr.Row():
                with gr.Column(min_width=300):
                    constellation = gr.Image(
                        label="Received constellation",
                        interactive=False,
                        format="png",
                        buttons=_BUTTONS,
                        elem_id="constellation",
                    )
                with gr.Column(min_width=300):
                    symbols = gr.HTML(label="Symbols by kind", elem_id="symbols")
            plot = _plot("plot")
            files = gr.File(
                label="Download: pictures, report, IQ samples sent and received",
                file_count="multiple",
                interactive=False,
                elem_id="files",
            )
            others = gr.Button(
                f"What would {' and '.join(rivals)} have delivered?",
                visible=bool(rivals),
                elem_id="compare",
            )
            table = gr.HTML(elem_id="comparison")
            delivered = gr.Gallery(
                label="The same picture, CBR and SNR, without region",
                columns=3,
                object_fit="contain",
                format="png",
                buttons=_BUTTONS,
                interactive=False,
                visible=False,
                elem_id="delivered",
            )

    controls: list[Any] = [
        photo, editor, snr, cbr, channel, region, boxes, strength, steps, effort,
        objective, size, seed, waveform,
    ]  # fmt: skip
    results = [status, pair, figures, region_map, rate_map, constellation, plot, symbols, files]

    def show(path: str | None) -> tuple[Any, str]:
        if path is None:
            return None, _status("Nothing is sent yet.")
        try:
            image, (width, height) = service.preview(Path(path))
        except Exception as error:
            return None, _status(sentence(error), failed=True)
        empty = {"background": image, "layers": [], "composite": image}
        return empty, _status(f"Ready to send: {width}×{height} pixels.")

    def answer(visitor: gr.Request, *values: Any) -> tuple[Any, ...]:
        return _outputs(_attempt(lambda: service.send(_request(*values), visitor.session_hash)))

    def others_answer(visitor: gr.Request, *values: Any) -> tuple[Any, ...]:
        try:
            done = service.compare(_request(*values), visitor.session_hash)
        except Exception as error:
            return _status(sentence(error), failed=True), gr.update(visible=False)
        pictures = [(str(path), name) for path, name in done.pictures]
        return done.table, gr.update(value=pictures, visible=bool(pictures))

    photo.change(show, photo, [editor, status], concurrency_limit=2, show_progress="hidden")
    take_sample.click(lambda: str(service.workspace.copy(sample)), None, photo)
    send.click(answer, controls, results, **_MODEL)
    others.click(others_answer, controls, [table, delivered], **_MODEL)


def _plot(name: str) -> gr.Image:
    """Where the plot of a recording appears, once there is one."""
    return gr.Image(
        # Short: it lies over the plot, whose own title stands at the right.
        label="Recording",
        type="filepath",
        format="png",
        interactive=False,
        buttons=_BUTTONS,
        visible=False,
        elem_id=name,
    )


def _decode_tab(service: Service) -> None:
    gr.Markdown(
        "Upload IQ samples ([SigMF](https://sigmf.org)): the `.zip` that this page makes, or "
        "`.sigmf-meta` and `.sigmf-data`. A frame of an OFDM waveform may lie anywhere in them, "
        "and everything is estimated from it. A frame of one sample per symbol begins with the "
        "first; SNR, gain and phase are estimated, one gain for all of them."
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            upload = gr.File(
                label="Recording", file_count="multiple", type="filepath", elem_id="recording"
            )
            steps = gr.Slider(1, 8, 1, step=1, label="Diffusion steps")
            button = gr.Button("Decode", variant="primary", elem_id="decode")
        with gr.Column(scale=3, min_width=320):
            status = gr.HTML(_status("Nothing is decoded yet."), elem_id="decode-status")
            picture = gr.Image(
                label="Decoded picture",
                interactive=False,
                format="png",
                buttons=_BUTTONS,
                elem_id="decoded",
            )
            constellation = gr.Image(
                label="Constellation",
                interactive=False,
                format="png",
                height=420,
                buttons=_BUTTONS,
            )
            plot = _plot("decode-plot")
            files = gr.File(label="Download", file_count="multiple", interactive=False)

    def answer(visitor: gr.Request, paths: list[str] | None, steps: float) -> tuple[Any, ...]:
        files = [Path(path) for path in paths or []]
        done = _attempt(lambda: service.decode(files, int(steps), 0, visitor.session_hash))
        return (
            _status(done.status, done.failed),
            done.picture,
            done.constellation,
            _shown(done.plot),
            [str(path) for path in done.files] or None,
        )

    button.click(answer, [upload, steps], [status, picture, constellation, plot, files], **_MODEL)


def _request(
    photo: str | None,
    editor: dict[str, Any] | None,
    snr: float,
    cbr: str,
    channel: str,
    region: str,
    boxes: str,
    strength: float,
    steps: float,
    effort: float,
    objective: ObjectiveName,
    size: str,
    seed: float | None,
    waveform: str,
) -> Request:
    layers = (editor or {}).get("layers", [])
    return Request(
        picture=None if photo is None else Path(photo),
        snr_db=float(snr),
        cbr=str(cbr),
        channel=channel,
        steps=int(steps),
        effort=int(effort),
        objective=objective,
        roi_strength=float(strength),
        region=region,
        layers=[read_upload_picture(path, "alpha") for path in layers] if region == PAINTED else [],
        boxes=boxes,
        seed=int(seed or 0),
        size=size,
        waveform=waveform,
    )


def _attempt(work: Callable[[], Answer]) -> Answer:
    """Whatever goes wrong becomes a sentence."""
    try:
        return work()
    except Exception as error:
        return Answer(sentence(error), failed=True)


def _outputs(answer: Answer) -> tuple[Any, ...]:
    return (
        _status(answer.status, answer.failed),
        None if answer.pair is None else tuple(str(path) for path in answer.pair),
        answer.figures,
        gr.update(value=answer.region, visible=answer.region is not None),
        answer.rates,
        answer.constellation,
        _shown(answer.plot),
        answer.symbols,
        [str(path) for path in answer.files] or None,
    )


def _shown(plot: Path | None) -> Any:
    """What a component of :func:`_plot` becomes."""
    return gr.update(value=None if plot is None else str(plot), visible=plot is not None)


def _status(text: str, failed: bool = False) -> str:
    """A sentence that screen readers announce."""
    role, kind = ("alert", "failed") if failed else ("status", "fine")
    return f'<p role="{role}" class="lrisc-status lrisc-{kind}">{html.escape(text)}</p>'
