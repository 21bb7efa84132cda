"""npunet eval: how good a trained network is on data that it has not seen."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import pretrained
from npunet.cli import models
from npunet.data.split import PARTS
from npunet.files import write_text
from npunet.train import run
from npunet.train.task import load_task


def add(verbs: Any) -> None:
    """Arguments of `npunet eval`."""
    parser = models.verb(verbs, "eval", evaluate, "score a trained network: classes, events or objects, and a picture",
                         "npunet eval runs/ecg --data physionet/ludb")
    parser.add_argument("source", metavar="RUN", help="folder of a run; or a model.npz of a run, or the name of a "
                        f"trained network ({', '.join(pretrained.names()) or 'none yet'}), which need --data")
    parser.add_argument("--data", metavar="FOLDER", help="the data (default: where the run found it)")
    parser.add_argument("--part", choices=(*PARTS, "all"), help="subjects of a run to score on (default test); a model "
                        "by itself is scored on all")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="of a run (default best)")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="where scores.json and the picture go (default: RUN)")


def evaluate(arguments: Namespace) -> None:
    """Score, print the table, write scores.json and picture.svg."""
    from npunet.evaluate import report

    source, out = Path(arguments.source), arguments.out
    if source.is_dir():
        config, told = run.settings_of(source)
        task = load_task(config, arguments.data or told["data"])
        if task.parts != told["parts"]:
            raise ValueError(f"the data is not that of the run in {source}: other subjects; name its folder by --data")
        model, part, out = run.open_run(source / f"{arguments.checkpoint}.npz"), arguments.part or "test", out or source
        things: list[Any] = [thing for name in (PARTS if part == "all" else (part,)) for thing in task.things[name]]
    else:
        model, part = _model(arguments.source), "all"
        if arguments.part not in (None, "all"):
            raise ValueError("a model by itself knows no parts; give the folder of its run, or leave --part out")
        things = list(run.read_things(model, arguments.data))
    made: Any = (report.report_images if model.preparation is None else report.report_signals)(model, things)
    print(f"{models.size_of(model)}, on {len({thing.subject for thing in things})} subjects ({part})\n")
    print(made.table())
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "scores.json", json.dumps({"part": part, **made.to_dict()}, indent=1) + "\n")
        made.save_picture(folder / "picture.svg")
        print(f"\nwrote {folder / 'scores.json'}, {folder / 'picture.svg'}")


def _model(source: str) -> Any:
    if source in pretrained.names():
        return pretrained.load(source)
    return run.Segmenter.load(source)
