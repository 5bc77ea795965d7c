import csv
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import yaml
from conftest import make_model, make_tokenizer

import train_space
from classifier import headless, training_page, training_report
from classifier.bench import OWN_MESSAGES, Bench, _task_names
from classifier.datacheck import check_data, declare_tasks, hold_out
from classifier.desks import SUPPORT
from classifier.errors import ClassifierError
from classifier.estimates import (
    ASSUMED,
    MEASURED,
    RECORDED,
    encoder_parameters,
    estimate,
    hub_prices,
    operations,
    rate_of_run,
    recorded_rate,
)
from classifier.folder import REPORT, ModelFolder, write_json
from classifier.headless import settings_from
from classifier.hub_job import submit
from classifier.page import escape
from classifier.predict import Classifier
from classifier.settings import TrainSettings
from classifier.trainer import CHECKPOINT_STEPS, RunState, Trainer

WORDS = ["refund", "card", "charged", "order", "account", "hours", "help", "fraud", "log", "cancel"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A tiny encoder with its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    make_model(positions=256).distilbert.save_pretrained(folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Labelled messages as a CSV file, the message in a column of another name."""
    path = tmp_path_factory.mktemp("table") / "messages.csv"
    names = SUPPORT.task_names
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["body", *names])
        for number in range(80):
            text = f"{WORDS[number % 10]} {WORDS[number // 8 % 10]} {chr(97 + number % 26) * 3}{number}"
            labels = [task.label_names[number % len(task.labels)] for task in SUPPORT.tasks]
            rows.writerow([text, *labels])
    return path


@pytest.fixture
def values(encoder, table) -> dict:
    """Settings of a run on them."""
    source = {"path": str(table), "columns": {"text": "body"}}
    return {"base": str(encoder), "data": [source], "batch_size": 8, "max_tokens": 32, "noise": None}


def until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


# A run from start to push, in its own process


def test_a_run_is_found_stopped_resumed_without_the_page_and_pushed(hub, values, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({**values, "epochs": 200, "max_steps": 400, "patience": 200}))
    trainer = Trainer(tmp_path / "run")
    headless.start_run(trainer, settings_from(config), "ann")
    with pytest.raises(ClassifierError, match="A training run goes on"):
        headless.start_run(trainer, settings_from(config))

    # A server that was restarted has nothing but the folder.
    again = Trainer(tmp_path / "run")
    until(lambda: again.state().step >= CHECKPOINT_STEPS or again.state().phase != "running")
    state = again.state()
    assert (state.phase, state.owner, state.total) == ("running", "ann", 400), again.log()
    assert state.messages_per_second > 0 and state.seconds_left > 0 and state.steps[0]["step"] == 1
    again.stop()
    stopped = trainer.state()
    assert stopped.phase == "stopped" and stopped.step >= CHECKPOINT_STEPS
    with pytest.raises(ClassifierError, match="nothing to stop"):
        trainer.stop()

    words = ["--headless", "--resume", "--folder", str(trainer.folder), "--push", "ann/new", "--license", "mit"]
    assert train_space.main(words) == 0, trainer.log()
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["training"]["steps"] == 400
    assert f"Pushed to {hub.url}/ann/new" in printed.err
    assert "hf_write" not in printed.out + printed.err
    card = hub.files("ann/new")["README.md"].decode()
    assert "license: mit" in card and "model-index" in card and "messages.csv" in card
    model = Classifier.load("ann/new")
    assert model.tasks.task_names == SUPPORT.task_names

    rows = trainer.compare(model)
    assert {row["task"] for row in rows} == set(SUPPORT.task_names)
    assert all(row["n"] == 8 and row["new"] == row["current"] and row["interval"] == [0, 0] for row in rows)
    assert "no clear difference" in training_report.comparison(rows)


def test_labels_of_ones_own_are_trained_from_the_form(table, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bench = Bench(Trainer(tmp_path / "run"), sign_in=False)
    bench.start(None, "own", str(table), str(encoder), "config2", 1, "body", ["sentiment", "urgency"])
    assert bench.trainer.wait().phase == "done", bench.trainer.log()
    look = bench.look(None)
    assert "sentiment" in look[8] and all(button.interactive for button in look[-2:])
    result = Classifier.load(bench.trainer.model).classify("refund my order")
    assert set(result.labels) == {"sentiment", "urgency"}
    assert "Accuracy on the held-out messages" in bench.compare()  # the same labels as the embedded model's


# The trainer's state, read from disk


def test_a_folder_without_a_run_is_idle(tmp_path):
    trainer = Trainer(tmp_path)
    assert trainer.state() == RunState("idle")
    with pytest.raises(ClassifierError, match="no stopped run"):
        trainer.resume()
    with pytest.raises(ClassifierError, match="no finished model"):
        trainer.compare(None)


def write_run(trainer: Trainer, values: dict, pid: int, created: float) -> None:
    trainer.folder.mkdir(exist_ok=True)
    settings = TrainSettings.build(values, {"out": trainer.model})
    (trainer.folder / "settings.yaml").write_text(yaml.safe_dump(json.loads(settings.model_dump_json())))
    write_json(trainer.folder / "job.json", {"pid": pid, "created": created, "owner": None, "stopped": False})


def test_another_process_with_the_same_id_is_not_the_run(values, tmp_path):
    trainer = Trainer(tmp_path / "run")
    write_run(trainer, values, os.getpid(), created=1.0)
    assert trainer.state().phase == "failed"


def test_a_run_that_fails_says_why(values, tmp_path):
    trainer = Trainer(tmp_path / "run")
    write_run(trainer, values, os.getpid(), created=1.0)
    (trainer.folder / "output.txt").write_text("train:  0%\rtrain: 10%\nerror: The disk is full.\nlauncher's words\n")
    state = trainer.state()
    assert (state.phase, state.error) == ("failed", "The disk is full.")
    assert "train: 10%" in trainer.log() and "train:  0%" not in trainer.log()
    assert "The disk is full." in training_page.banner(state)


def test_after_the_last_step_the_page_says_that_it_is_finishing():
    line = {"step": 9, "loss": 1.0}
    score = {"step": 9, "score": 0.5, "tasks": {"intent": {"macro_f1": 0.25}}}
    state = RunState("running", step=9, total=10, steps=(line,), validations=(score,), seconds_left=3.0)
    assert "Time left" in training_page.banner(state) and "intent 0.250" in training_page.banner(state)
    state = RunState("running", step=10, total=10, steps=(line,), validations=(score,), seconds_left=0.0)
    assert "Time left" not in training_page.banner(state) and "exported" in training_page.banner(state)


def test_a_half_written_line_of_the_log_waits(values, tmp_path):
    trainer = Trainer(tmp_path / "run")
    write_run(trainer, values, os.getpid(), created=1.0)
    run = trainer.state().settings.run
    run.mkdir()
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.5, "learning_rate": 0.1}\n{"step": 2, "lo')
    assert trainer.state().step == 1


# The check of the data


def test_the_check_counts_what_training_would_see(values, tmp_path):
    found = check_data(TrainSettings.build(values, {"out": tmp_path / "model"}))
    assert len(found.train) + len(found.validation) == 80
    assert not set(found.train.texts) & set(found.validation.texts)
    assert any("only" in warning for warning in found.warnings)
    html = training_page.check(found, [])
    assert "80 rows read" in html and "refund_request" in html


def test_missing_labels_are_warned_of(values, encoder, tmp_path):
    path = tmp_path / "one.jsonl"
    rows = [{"text": f"message {number} {WORDS[number % 10]}", "urgency": "low"} for number in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = TrainSettings.build({**values, "data": [{"path": str(path)}]}, {"out": tmp_path / "model"})
    warnings = " ".join(check_data(settings).warnings)
    assert "No message has a label of intent" in warnings and "no message is high" in warnings


def test_what_is_held_out_is_read_again_with_mapped_columns(values, tmp_path):
    settings = TrainSettings.build(
        {**values, "columns": {"text": "message", "intent": "what"}}, {"out": tmp_path / "model"}
    )
    check = check_data(settings)
    again = TrainSettings.build(hold_out(check, settings, tmp_path))
    found = check_data(again)
    assert found.validation.texts == check.validation.texts and found.train.texts == check.train.texts
    assert (found.validation.labels["intent"] == check.validation.labels["intent"]).all()


def test_a_run_twice_as_long_takes_twice_the_time_and_costs_twice(hub, values, tmp_path):
    once = TrainSettings.build({**values, "epochs": 1}, {"out": tmp_path})
    twice = TrainSettings.build({**values, "epochs": 2}, {"out": tmp_path})
    train = check_data(once).train
    rows = list(zip(estimate(train, once, 10_000_000), estimate(train, twice, 10_000_000), strict=True))
    assert all(second.seconds == pytest.approx(2 * first.seconds) and first.seconds > 0 for first, second in rows)
    prices = {first.title: (first.dollars, second.dollars) for first, second in rows}
    assert prices["CPU basic, 2 cores"] == (0, 0)
    once_t4, twice_t4 = prices["NVIDIA T4"]
    assert twice_t4 == pytest.approx(2 * once_t4) and once_t4 > 0
    assert prices["NVIDIA A100"] == (None, None)  # not in the Hub's list


def test_each_estimate_says_what_it_rests_on(hub, values, tmp_path):
    settings = TrainSettings.build(values, {"out": tmp_path})
    train = check_data(settings).train
    here, basic, *cards = estimate(train, settings, 10_000_000, rate_here=2 * recorded_rate())
    assert (here.basis, basic.basis) == (MEASURED, RECORDED)
    assert {card.basis for card in cards} == {ASSUMED}
    assert basic.seconds == pytest.approx(2 * here.seconds)
    assert estimate(train, settings, 10_000_000)[0] == basic


def test_the_speed_of_a_run_is_taken_from_its_log(values, encoder, tmp_path):
    settings = TrainSettings.build(values, {"out": tmp_path})
    log = (
        {"step": 1, "loss": 1.0},
        *({"step": n, "loss": 1.0, "tokens_per_second": speed} for n, speed in [(2, 90), (3, 100), (4, 400)]),
    )
    parameters = encoder_parameters(json.loads((encoder / "config.json").read_text()))
    assert rate_of_run(settings, log) == operations(parameters, 100)
    assert rate_of_run(settings, log[:1]) is None


def test_prices_that_the_hub_cannot_be_asked_for_are_left_out(hub):
    assert hub_prices()["t4-small"] == pytest.approx(0.6)
    hub.stop()
    assert hub_prices() == {}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        ({"n_layers": 6, "dim": 768, "hidden_dim": 3072}, 42_467_328),
        ({"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}, 10_616_832),
    ],
)
def test_the_size_of_an_encoder_follows_from_its_config(config, parameters):
    assert encoder_parameters(config) == parameters


def test_labels_of_ones_own_are_declared_from_columns(table, tmp_path):
    tasks = declare_tasks(table, {"mood": "sentiment"}, tmp_path / "tasks.json")
    assert tasks.task("mood").label_names == ("angry", "calm", "frustrated")
    with pytest.raises(ClassifierError, match="80 different values"):
        declare_tasks(table, {"mood": "body"}, tmp_path / "tasks.json")


def test_columns_become_tasks_whose_names_are_free_and_differ():
    assert _task_names(["Type", "Sub-category", "Sub category", "2nd level", "text", "Größe"]) == [
        "task_type", "sub_category", "sub_category_2", "task_2nd_level", "task_text", "größe"
    ]  # fmt: skip


# The page


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(Trainer(tmp_path / "run"), sign_in=False)


def test_the_page_has_no_public_endpoint(tmp_path):
    demo = train_space.build_demo(Trainer(tmp_path))
    assert demo.get_api_info()["named_endpoints"] == {}


def test_a_table_brings_menus_for_its_columns(bench, table):
    text, own, *slots = bench.columns(str(table), "support")
    assert text.visible and not own.visible and text.choices[0][0] == "body"
    assert [menu.value for menu in slots if menu.visible] == list(SUPPORT.task_names)
    text, own, *slots = bench.columns(str(table), "own")
    assert own.visible and not any(menu.visible for menu in slots)
    assert not any(menu.visible for menu in bench.columns(None, "support"))


def test_the_form_becomes_settings(bench, table, encoder):
    form = ["support", str(table), str(encoder), "config2", 7, "body", [], *SUPPORT.task_names, None, None, None]
    found = TrainSettings.build(bench.values(*form), {"out": "x"})
    assert (found.epochs, found.batch_size, found.base) == (7, 8, str(encoder))
    assert found.data[0].columns == {"text": "body", **{name: name for name in SUPPORT.task_names}}
    assert Path(found.data[0].path).is_file() and Path(found.data[0].path) != table


def test_a_check_does_not_change_the_table_of_a_run(bench, table, tmp_path):
    form = ["own", str(table), "x", "ours", 1, "body"]
    first = bench.values(*form, ["sentiment"])
    changed = tmp_path / table.name
    changed.write_text(table.read_text().replace("refund", "return"))
    others = [bench.values(*form, ["urgency"]), bench.values(form[0], str(changed), *form[2:], ["sentiment"])]
    assert len({values["tasks"] for values in (first, *others)}) == 3
    assert Path(first["data"][0]["path"]).read_text() == table.read_text()
    os.utime(Path(others[0]["tasks"]).parent, (0, 0))
    bench.uploads.forget([first["data"][0]["path"]])
    assert [Path(values["tasks"]).exists() for values in (first, *others)] == [True, False, True]


def test_columns_of_any_name_become_tasks(bench, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("Was steht da?,2nd label\nthe parcel is late,a\nthe parcel is broken,b\n")
    text, *_ = bench.columns(str(path), "own")
    assert text.value == "Was steht da?"
    values = bench.values("own", str(path), "x", "ours", 1, text.value, ["2nd label"])
    assert TrainSettings.build(values, {"out": "x"}).data[0].columns["task_2nd_label"] == "2nd label"


def test_without_a_table_the_projects_messages_are_used(bench):
    found = bench.values("support", None, "x", "ours", 1, None, [])
    assert [source["path"] for source in found["data"]] == [str(path) for path in OWN_MESSAGES["support"]]


def test_a_comparison_on_messages_that_the_embedded_model_knows_says_so(bench, values, tmp_path):
    write_run(bench.trainer, {**values, "data": [{"path": str(OWN_MESSAGES["support"][0])}]}, os.getpid(), created=1.0)
    assert "flatters" in bench._seen_before()
    write_run(bench.trainer, values, os.getpid(), created=1.0)
    assert bench._seen_before() == ""


def test_the_form_takes_labels_of_ones_own(bench, table, encoder):
    form = ["own", str(table), str(encoder), "ours", 1, "body", ["sentiment"], *[None] * 8]
    found = TrainSettings.build(bench.values(*form), {"out": "x"})
    assert check_data(found).tasks.task_names == ("sentiment",)


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (("own", None, "x", "ours", 1, None, []), "upload a table"),
        (("support", "TABLE", "x", "ours", 1, None, []), "column that holds the messages"),
        (("own", "TABLE", "x", "ours", 1, "body", []), "columns that hold the labels"),
    ],
)
def test_what_is_not_chosen_yet_is_a_notice(bench, table, form, sentence):
    with pytest.raises(gr.Error, match=sentence):
        bench.check(*(str(table) if part == "TABLE" else part for part in form), *[None] * 8)


def test_the_check_shows_time_and_cost(hub, bench, table, encoder):
    form = ["support", str(table), str(encoder), "ours", 1, "body", [], *SUPPORT.task_names, None, None, None]
    html = bench.check(*form)
    assert "NVIDIA T4" in html and "free" in html and escape("under $ 0.01") in html
    hub.stop()
    html = bench.check(*form)
    assert "NVIDIA T4" in html and escape("$") not in html and "cannot be asked for prices" in html


def test_a_look_at_what_has_not_changed_sends_nothing(bench):
    first = bench.look(None)
    assert "No run yet" in first[1]
    assert bench.look(first[0]) == [gr.skip()] * len(first)


def test_visitors_of_a_space_must_sign_in(tmp_path):
    bench = Bench(Trainer(tmp_path), sign_in=True)
    for action in (lambda: bench.start(None), lambda: bench.stop(None), lambda: bench.push("a/b", True, None, None)):
        with pytest.raises(gr.Error, match="Sign in"):
            action()


@pytest.mark.parametrize(
    ("host", "environment", "may_push"),
    [
        (None, {}, True),
        ("127.0.0.1", {}, True),
        ("0.0.0.0", {}, False),
        (None, {"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        (None, {"GRADIO_SHARE": "True"}, False),
        (None, {"GRADIO_SHARE": "False"}, True),
        (None, {"GRADIO_SERVER_NAME": "0.0.0.0", "SPACE_ID": "ann/space"}, True),  # visitors sign in
    ],
)
def test_nobody_else_pushes_with_the_account_of_this_machine(tmp_path, monkeypatch, host, environment, may_push):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SHARE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked = []
    page = SimpleNamespace(launch=lambda **_: None)
    monkeypatch.setattr(train_space, "build_demo", lambda _, **options: asked.append(options) or page)
    assert not train_space.main(["--folder", str(tmp_path), *(["--host", host] if host else [])])
    assert asked[0]["may_push"] is may_push
    with pytest.raises(gr.Error, match="no finished model" if may_push else "would push with this machine's account"):
        Bench(Trainer(tmp_path), sign_in=False, may_push=may_push).push("ann/new", True, None, None)


def test_without_a_run_there_is_nothing_to_push(tmp_path):
    ann = gr.OAuthProfile({"name": "Ann", "preferred_username": "ann", "profile": "", "picture": ""})
    with pytest.raises(gr.Error, match="no finished model"):
        Bench(Trainer(tmp_path), sign_in=True).push("ann/new", True, ann, None)


def test_only_who_started_a_run_may_stop_it(tmp_path, values):
    trainer = Trainer(tmp_path / "run")
    write_run(trainer, values, os.getpid(), created=1.0)
    write_json(trainer.folder / "job.json", {"pid": 1, "created": 1.0, "owner": "ann", "stopped": False})
    bench = Bench(trainer, sign_in=True)
    bob = gr.OAuthProfile({"name": "Bob", "preferred_username": "bob", "profile": "", "picture": ""})
    with pytest.raises(gr.Error, match="ann started this run"):
        bench.stop(bob)


def test_errors_of_a_run_are_shown_as_text(values, tmp_path):
    state = RunState("failed", error="<img src=x onerror=alert(1)>")
    assert "<img" not in training_page.banner(state)


def test_curves_have_number_axes_even_without_points():
    assert [str(kind) for kind in training_page.losses(RunState("idle")).dtypes] == ["int64", "float64"]


# Without the page


def test_headless_needs_settings(capsys):
    assert train_space.main(["--headless"]) == 2
    assert "--config FILE" in capsys.readouterr().err


def test_the_example_can_be_read():
    values = settings_from(Path(train_space.__file__).parent / "examples/train.yaml")
    assert TrainSettings.build(values).tasks == "support"


def test_settings_of_the_file_can_be_overridden(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("base: x\nepochs: 3\nnoise: {rate: 0.5}\n")
    values = settings_from(config, ["epochs=1", "noise=null", "data=[{path: a=b.csv}]"])
    assert (values["epochs"], values["noise"], values["data"]) == (1, None, [{"path": "a=b.csv"}])
    for wrong in ("epochs", "data=[", "=1"):
        with pytest.raises(ClassifierError, match=r"The (setting|value)"):
            settings_from(config, [wrong])


def test_a_job_brings_code_settings_and_data_and_its_log_is_followed(hub, values, tmp_path, capsys):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(values))
    hub.job_says = ["step 1 of 2", "Pushed."]
    submit("t4-small", settings_from(config), "ann/new", private=True)
    files = hub.files("ann/new-job", kind="dataset")
    assert {"train_space.py", "app.py", "classifier/train.py", "classifier/page.css", "requirements.txt"} <= set(files)
    assert hub.repos["dataset", "ann/new-job"].private
    packed = json.loads(files["settings.json"])
    assert packed["data"][0]["path"].removeprefix("/job/") in files
    assert f"{packed['base'].removeprefix('/job/')}/config.json" in files
    (job,) = hub.jobs.values()
    assert job["flavor"] == "t4-small" and job["secrets"] == {"HF_TOKEN": "hf_write"}
    assert "--push" in job["command"] and "torch>=2.6" in job["command"]
    printed = capsys.readouterr()
    assert "step 1 of 2" in printed.err and "hf_write" not in printed.err


@pytest.mark.parametrize("key", ["teachers", "unlabelled"])
def test_a_job_is_refused_what_it_would_not_get(hub, values, tmp_path, key):
    (tmp_path / "own").mkdir()
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({**values, "teachers": ["ann/big"], key: [str(tmp_path / "own")]}))
    with pytest.raises(ClassifierError, match="gets no local teachers or unlabelled messages"):
        submit("t4-small", settings_from(config), "ann/new")
    assert not hub.jobs


def test_a_job_that_fails_says_so(hub, values, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(values))
    hub.job_ends_as = "ERROR"
    with pytest.raises(ClassifierError, match="ended as ERROR"):
        submit("t4-small", settings_from(config), "ann/new")


def test_a_finished_model_is_reported(tmp_path, values, own_folder):
    trainer = Trainer(tmp_path / "run")
    write_run(trainer, values, os.getpid(), created=1.0)
    own_folder.rename(trainer.model)
    intent = {"accuracy": 0.5, "interval": [0.2, 0.8], "macro_f1": 0.25, "ece": 0.125, "confusion": [[3, 1], [3, 1]]}
    scores = {"n": 8, "tasks": {"intent": {**intent, "labels": {"a_b": {}, "<c>": {}}}}}
    write_json(trainer.model / REPORT, {"evaluation": {"validation_clean": scores}})
    assert trainer.state().phase == "done" and ModelFolder.read(trainer.model)
    html = training_report.report(trainer.report())
    assert "50.0% (20.0% to 80.0%)" in html and "n = 8" in html
    assert '<td style="--share:0.750">3</td>' in html and "&lt;c&gt;" in html
