"""The layout of the page, and what its buttons do."""

from __future__ import annotations

import contextvars
import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lrisc.app import compare
from lrisc.app.editor import bound
from lrisc.app.meter import Tell
from lrisc.app.reader import read_upload_paint
from lrisc.app.region import BOXES, MAX_BOXES_TEXT, PAINTED, REGIONS
from lrisc.app.service import CHANNEL_CHOICES, SIZES, Answer, Request, Service, sentence
from lrisc.link.waveform.numerology import WAVEFORMS
from lrisc.refinement.objective import OBJECTIVES
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
# What only shows or hides something does not wait.
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_PROGRESS = gr.Progress()
# On a phone the answer lies below the controls.
_SHOW_STATUS = """() => document.getElementById("status").scrollIntoView(
    {behavior: "smooth", block: window.innerWidth < 700 ? "start" : "nearest"})"""
PICTURE_HEIGHT = 540
"""Pixels, so that pictures and figures fit a screen 900 high."""


def build_page(service: Service, sample: Path) -> gr.Blocks:
    """Lay out the page.

    Args:
        service: does the work.
        sample: a photograph for visitors who have none at hand.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_INTRO)
        with gr.Tab("Photograph"):
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
                height=150,
                elem_id="photo",
            )
            take_sample = gr.Button("Take the sample portrait", size="sm", elem_id="take-sample")
            with gr.Group(), gr.Row(elem_classes="lrisc-pair"):
                snr = gr.Slider(-6, 24, 10, step=0.5, label="SNR, dB", info="Es/N0", elem_id="snr")
                cbr = gr.Dropdown(
                    ["1/96", "0.017", "1/48", "1/24", "1/12"],
                    value="1/48",
                    allow_custom_value=True,
                    label="CBR",
                    info="1/48, 0.02 or 2 %",
                    elem_id="cbr",
                )
            with gr.Group(), gr.Row(elem_classes="lrisc-pair"):
                channel = _choice(CHANNEL_CHOICES, "Channel", "channel")
                waveform = _choice(WAVEFORMS, "Waveform", "waveform")
            with gr.Accordion("Region of interest", open=False, elem_id="region-part"):
                region, editor, boxes, strength = _region_controls(service)
            with gr.Accordion("More", open=False, elem_id="more-part"):
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
                    visible=False,
                    elem_id="objective",
                )
                size = _choice(SIZES, "Longer side", "size")
                seed = gr.Number(
                    0, label="Seed of the noise", precision=0, minimum=0, elem_id="seed"
                )
            send = gr.Button("Send", variant="primary", elem_id="send")
        with gr.Column(scale=3, min_width=320):
            status = gr.HTML(_status("Nothing is sent yet."), elem_id="status")
            preview = _image(
                "Photograph", "preview", buttons=[], height=PICTURE_HEIGHT, visible=False
            )
            pair = _slider("Source | reconstruction", "pair")
            figures = gr.HTML(elem_id="figures")
            with gr.Column(visible=False) as details:
                with gr.Row():
                    region_map = _image("Region of interest", "roi-map", visible=False)
                    with gr.Column(min_width=300):
                        rate_map = _image("Rate map", "rate-map")
                        scale = gr.HTML(elem_id="rate-scale")
                    with gr.Column(min_width=300):
                        constellation = _image(
                            "Received constellation", "constellation", format="png"
                        )
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
                scheme = gr.Radio(
                    [],
                    label="Source (left) against",
                    info="the same picture, CBR and SNR, without region",
                    visible=False,
                    elem_id="scheme",
                )
                against = _slider("Source | what arrived", "against")
                delivered = gr.State({})

    controls: dict[str, Any] = {
        "picture": photo, "layers": editor, "snr_db": snr, "cbr": cbr, "channel": channel,
        "region": region, "boxes": boxes, "roi_strength": strength, "steps": steps,
        "effort": effort, "objective": objective, "size": size, "seed": seed, "waveform": waveform,
    }  # fmt: skip
    shown = [status, pair, figures, preview, details]
    results = [*shown, region_map, rate_map, scale, constellation, plot, symbols, files]
    compared = [table, scheme, against, delivered]

    def asked(values: Sequence[Any]) -> Request:
        return _request(dict(zip(controls, values, strict=True)))

    def show(path: str | None) -> tuple[Any, ...]:
        told, image = _status("Nothing is sent yet."), None
        if path is not None:
            try:
                image, (width, height) = service.preview(Path(path))
                told = _status(f"Ready to send: {width}×{height} pixels.")
            except Exception as error:
                told = _status(sentence(error), failed=True)
        painting = (
            None if image is None else {"background": image, "layers": [], "composite": image}
        )
        looked_at = gr.update(value=image, visible=image is not None)
        return painting, told, looked_at, _hidden(), "", _hidden()

    def answer(
        visitor: gr.Request, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[Any, ...]:
        tell = _teller(progress)
        done = _attempt(lambda: service.send(asked(values), visitor.session_hash, tell))
        return (*_outputs(done), *_no_comparison())

    def others_answer(
        visitor: gr.Request, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[Any, ...]:
        try:
            done = service.compare(asked(values), visitor.session_hash, _teller(progress))
        except Exception as error:
            return (_status(sentence(error), failed=True), *_no_comparison()[1:])
        pairs = {name: (str(done.source), str(path)) for path, name in done.pictures}
        if not pairs:
            return (done.table, *_no_comparison()[1:])
        first = next(iter(pairs))
        choice = gr.update(choices=list(pairs), value=first, visible=True)
        return done.table, choice, gr.update(value=pairs[first], visible=True), pairs

    def tried(iterations: float) -> Any:
        return gr.update(visible=iterations > 0)

    def chosen(name: str, pairs: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
        return pairs.get(name)

    photo.change(
        show,
        photo,
        [editor, status, preview, pair, figures, details],
        concurrency_limit=2,
        show_progress="hidden",
    )
    take_sample.click(lambda: str(service.workspace.copy(sample)), None, photo)
    effort.change(tried, effort, objective, **_QUIET)
    given = list(controls.values())
    answered = send.click(answer, given, [*results, *compared], show_progress_on=[status], **_MODEL)
    send.click(None, js=_SHOW_STATUS)
    answered.then(None, js=_SHOW_STATUS)
    others.click(others_answer, given, compared, show_progress_on=[table], **_MODEL)
    scheme.input(chosen, [scheme, delivered], against, **_QUIET)


def _region_controls(service: Service) -> tuple[gr.Radio, gr.ImageEditor, gr.Textbox, gr.Slider]:
    """How a region is chosen; only what the choice needs is seen."""
    region = gr.Radio(
        list(REGIONS),
        value=PAINTED,
        label="How it is chosen",
        info="without paint there is no region",
        elem_id="region",
    )
    editor = gr.ImageEditor(
        label="Paint what matters",
        type="pil",
        sources=(),
        transforms=(),
        layers=False,
        brush=gr.Brush(colors=["rgba(255, 64, 0, 0.55)"], color_mode="fixed", default_size=40),
        buttons=[],
        height=340,
        format="png",
        elem_id="editor",
    )
    bound(editor, service.workspace)
    boxes = gr.Textbox(
        label="Boxes",
        placeholder="x,y,w,h in pixels; several with spaces between",
        max_length=MAX_BOXES_TEXT,
        visible=False,
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

    def needed(choice: str) -> tuple[Any, Any]:
        return gr.update(visible=choice == PAINTED), gr.update(visible=choice == BOXES)

    region.change(needed, region, [editor, boxes], **_QUIET)
    return region, editor, boxes, strength


def _choice(names: Iterable[str], label: str, name: str) -> gr.Dropdown:
    """One of several names; the first one, unless another is chosen."""
    first, *_ = names = list(names)
    return gr.Dropdown(names, value=first, label=label, elem_id=name)


def _image(label: str, name: str | None = None, **options: Any) -> gr.Image:
    """A picture to look at and to save."""
    settings: dict[str, Any] = {
        "interactive": False,
        "format": "jpeg",
        "buttons": _BUTTONS,
        **options,
    }
    return gr.Image(label=label, elem_id=name, **settings)


def _slider(label: str, name: str) -> gr.ImageSlider:
    """Two pictures, one over the other; hidden until there are two."""
    return gr.ImageSlider(
        label=label,
        type="filepath",
        format="png",
        interactive=False,
        max_height=PICTURE_HEIGHT,
        visible=False,
        elem_id=name,
    )


def _hidden() -> Any:
    return gr.update(visible=False)


def _no_comparison() -> tuple[Any, ...]:
    """Table, choice of schemes, slider and pairs before anything is compared."""
    return "", gr.update(choices=[], value=None, visible=False), _hidden(), {}


def _teller(progress: gr.Progress) -> Tell:
    """Shows progress from whatever thread computes."""
    # Gradio knows by a variable of the thread that asked whose progress it is.
    context = contextvars.copy_context()

    def tell(share: float, what: str) -> None:
        context.run(progress, share, what)

    return tell


def _plot(name: str) -> gr.Image:
    """Where the plot of a recording appears, once there is one."""
    # A label would lie over the plot, which has a title of its own.
    return _image("Recording", name, type="filepath", format="png", visible=False, show_label=False)


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
            picture = _image("Decoded picture", "decoded", format="png")
            constellation = _image("Constellation", format="png", height=420)
            plot = _plot("decode-plot")
            files = gr.File(label="Download", file_count="multiple", interactive=False)

    def answer(
        visitor: gr.Request,
        paths: list[str] | None,
        steps: float,
        progress: gr.Progress = _PROGRESS,
    ) -> tuple[Any, ...]:
        files = [Path(path) for path in paths or []]
        tell = _teller(progress)
        done = _attempt(lambda: service.decode(files, int(steps), 0, visitor.session_hash, tell))
        return (
            _status(done.status, done.failed),
            done.picture,
            done.constellation,
            _shown(done.plot),
            [str(path) for path in done.files] or None,
        )

    button.click(
        answer,
        [upload, steps],
        [status, picture, constellation, plot, files],
        show_progress_on=[status],
        **_MODEL,
    )


def _request(asked: dict[str, Any]) -> Request:
    """What the controls say, which have numbers and files of Gradio's kinds."""
    painted = asked["region"] == PAINTED and (asked["layers"] or {}).get("layers")
    plain: dict[str, Any] = {
        "picture": None if asked["picture"] is None else Path(asked["picture"]),
        "layers": [read_upload_paint(path) for path in painted or ()],
        "cbr": str(asked["cbr"]),
        "seed": int(asked["seed"] or 0),
    }
    plain |= {name: float(asked[name]) for name in ("snr_db", "roi_strength")}
    plain |= {name: int(asked[name]) for name in ("steps", "effort")}
    return Request(**{**asked, **plain})


def _attempt(work: Callable[[], Answer]) -> Answer:
    """Whatever goes wrong becomes a sentence."""
    try:
        return work()
    except Exception as error:
        return Answer(sentence(error), failed=True)


def _outputs(answer: Answer) -> tuple[Any, ...]:
    return (
        _status(answer.status, answer.failed),
        _hidden()
        if answer.pair is None
        else gr.update(value=tuple(str(path) for path in answer.pair), visible=True),
        answer.figures,
        _hidden(),
        gr.update(visible=bool(answer.files)),
        gr.update(value=answer.region, visible=answer.region is not None),
        answer.rates,
        answer.scale,
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
