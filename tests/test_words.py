from mlflow_dlviz.words import count


def test_a_number_and_its_noun():
    assert [count(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [count(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
