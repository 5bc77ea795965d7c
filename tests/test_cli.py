import io
import json

import pytest

from classifier.__main__ import main


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_classify_prints_tasks_route_and_reasons(run, tiny_folder, classifier):
    status, out, err = run("classify", "i was charged twice", "--model", tiny_folder)
    result = classifier.classify("i was charged twice")
    assert (status, err) == (0, "")
    for task, label in result.labels.items():
        assert task in out and label in out
    assert result.route.queue in out
    assert all(reason.text in out for reason in result.route.reasons)


def test_classify_prints_the_result_as_json(run, tiny_folder, classifier):
    _, out, _ = run("classify", "i was charged twice", "--model", tiny_folder, "--json")
    found, expected = json.loads(out), classifier.classify("i was charged twice").to_dict()
    found.pop("latency_ms"), expected.pop("latency_ms")
    assert found == expected


def test_classify_reads_standard_input(run, tiny_folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("my refund please\n"))
    status, out, _ = run("classify", "--json", "--model", tiny_folder)
    assert status == 0 and json.loads(out)["tokens"] == 5


@pytest.mark.parametrize("arguments", [("classify", ""), ("classify", "help", "--model", "no/where/at/all")])
def test_a_mistake_of_the_user_is_one_line_and_status_2(run, tiny_folder, arguments):
    if "--model" not in arguments:
        arguments += ("--model", tiny_folder)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1


def test_wrong_use_exits_with_2(run, capsys):
    with pytest.raises(SystemExit) as exit_:
        run("clasify")
    assert exit_.value.code == 2


def test_every_command_explains_itself(run, capsys):
    from classifier.__main__ import _parser

    (commands,) = (action for action in _parser()._actions if action.dest == "command" or action.choices)
    for name in commands.choices:
        with pytest.raises(SystemExit) as exit_:
            run(name, "--help")
        assert exit_.value.code == 0
        assert len(capsys.readouterr().out) > 100
