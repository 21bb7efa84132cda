"""npunet eval: how good a trained network is on data that it has not seen."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import presets, pretrained
from npunet.cli import models, outputs, values
from npunet.data.split import PARTS
from npunet.evaluate import plots
from npunet.files import write_text
from npunet.formats import is_integer
from npunet.segment import Segmenter
from npunet.segment.images import VIEWS
from npunet.train import run
from npunet.train.quantised_run import Quantised
from npunet.train.task import Task, load_task


def add(verbs: Any) -> None:
    """Arguments of `npunet eval`."""
    parser = models.verb(verbs, "eval", evaluate, "score a trained network: classes, events or objects, and a picture",
                         "npunet eval runs/ecg --data physionet/ludb")
    parser.add_argument("source", metavar="RUN", help="folder of a run; or a model.npz of a run, or the name of a "
                        f"trained network ({', '.join(pretrained.names()) or 'none yet'}), which need --data")
    parser.add_argument("--data", metavar="FOLDER", help="the data (default: where the run found it)")
    parser.add_argument("--part", choices=(*PARTS, "all"), help="subjects of a run to score on (default test); a model "
                        "by itself is scored on all")
    parser.add_argument("--checkpoint", choices=("best", "last"), help="of a run (default best)")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="where scores.json and the picture go (default: RUN)")
    parser.add_argument("--views", type=int, choices=(1, VIEWS), help="of an image that the result is "
                        f"the mean of: the image alone, or its turns and mirror images too (default {VIEWS})")
    parser.add_argument("--picture", metavar="FILE", help="draw predictions and truth as .svg or .png (default: "
                        "picture.svg in that folder)")
    parser.add_argument("--rows", type=values.counting, metavar="N",
                        help="leads or images that the picture shows (default: all "
                        "leads of one recording, or four images)")


def evaluate(arguments: Namespace) -> None:
    """Score, print the table, write scores.json and the picture."""
    from npunet.evaluate import report

    if arguments.picture:
        plots.suffix(arguments.picture)                                      # before the work starts
        outputs.refuse_unwritable(arguments.picture)
    source, out = Path(arguments.source), arguments.out
    if Path(out or source).is_dir():
        outputs.refuse_unwritable(Path(out or source) / "scores.json")
    if arguments.rows is not None and arguments.picture is None and out is None and not source.is_dir():
        raise ValueError("--rows is of the picture; add --picture FILE, or leave it out")
    if source.is_dir():
        config, told = run.settings_of(source)
        task = load_task(config, arguments.data or told["data"])
        if task.parts != told["parts"]:
            raise ValueError(f"the data is not that of the run in {source}: other subjects; name its folder by --data")
        model = run.open_run(source / f"{arguments.checkpoint or 'best'}.npz")
        part, out = arguments.part or "test", out or source
        if config.quantise:
            model = _integer(task, config.quantise, model)
        things: list[Any] = [thing for name in (PARTS if part == "all" else (part,)) for thing in task.things[name]]
    else:
        model, part = _model(arguments.source), "all"
        if arguments.checkpoint is not None:
            raise ValueError("--checkpoint is of a run; give the folder of one, or leave it out")
        if arguments.part not in (None, "all"):
            raise ValueError("a model by itself knows no parts; give the folder of its run, or leave --part out")
        things = list(run.read_things(model, arguments.data))
    if arguments.views is not None and len(model.input_shape) != 3:
        raise ValueError("--views is for images; the network takes signals: leave it out")
    made: Any = (report.report_images(model, things, arguments.views or VIEWS) if len(model.input_shape) == 3 else
                 report.report_signals(model, things))
    subjects = {thing.subject for thing in things}
    print(f"network {arguments.source}: {models.size_of(model.network)}, on {len(subjects)} subjects ({part})\n")
    print(made.table())
    mind = model.taught.among(subjects) if model.taught is not None else ""
    if mind:
        print(f"\nmind: {mind}")
    written = [] if out is None else [Path(out) / "scores.json"]
    picture = arguments.picture or (None if out is None else Path(out) / "picture.svg")
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        write_text(written[0], json.dumps({"network": arguments.source, "part": part, "taught": mind or None,
                                          **made.to_dict()}, indent=1) + "\n")
    if picture is not None:
        made.save_picture(picture, arguments.rows, f"network {arguments.source}")
        written.append(Path(picture))
    if written:
        print(f"\nwrote {', '.join(str(path) for path in written)}")


def _integer(task: Task, scheme: str, model: Segmenter) -> Segmenter:
    """The integer network of a run's checkpoint, as its training scored it."""
    made: Any = models.with_float_face(Quantised(task, scheme).integer(model))
    made.taught = model.taught
    return made


def _model(source: str) -> Segmenter:
    if models.is_trained(source):
        return pretrained.load(source)
    if not Path(source).exists() and source in presets.names():
        trained = f"{source}{pretrained.TRAINED}"
        known = f"; the trained network is called {trained}" if trained in pretrained.names() else ""
        raise ValueError(f"{source} is a preset, whose weights are random{known}")
    if is_integer(source):
        model = models.with_float_face(models.open_model(source))
        assert isinstance(model, Segmenter)
        return model
    return Segmenter.load(source)
