import pytest

from classifier.batch import score_rows
from classifier.errors import ClassifierError
from classifier.predict import WINDOW, Classifier
from classifier.rows import Row

ray = pytest.importorskip("ray", reason="requirements-ray.txt is not installed")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def test_two_workers_give_the_rows_of_the_local_engine(tiny_folder, cluster):
    from classifier.ray_engine import score_rows_on_ray

    classifier = Classifier.load(tiny_folder)
    rows = [Row([number, f"please refund order {number % 700}"]) for number in range(3 * WINDOW + 5)]
    rows[7], rows[WINDOW] = Row([7, None], "The cell is empty."), Row([WINDOW, "\u200b"])
    local = list(score_rows(classifier, rows, 1))
    remote = list(score_rows_on_ray(classifier, rows, 1, address=cluster))
    assert len(ray.nodes()) == 2
    assert [row[:2] for row in remote] == [row[:2] for row in local]
    for ours, theirs in zip(local, remote, strict=True):
        for own, other in zip(ours[2:], theirs[2:], strict=True):
            assert own == (pytest.approx(other, abs=2e-4) if isinstance(other, float) else other)


def test_no_rows_no_cluster_work(classifier, cluster):
    from classifier.ray_engine import score_rows_on_ray

    assert list(score_rows_on_ray(classifier, [], 1, address=cluster)) == []


def test_a_cluster_that_is_not_there_is_refused(classifier, cluster):
    from classifier.ray_engine import score_rows_on_ray

    ray.shutdown()
    with pytest.raises(ClassifierError, match="cannot be reached"):
        next(score_rows_on_ray(classifier, [Row(["help"])], 0, address="127.0.0.1:1"))
