from apex_ray.experience.variables import VariableClient
from apex_ray.types import Weights


class LateSource:
    """Answers come late, doubled and out of order."""

    def __init__(self, answers):
        self.answers, self.requests = answers, []

    def request(self, newer_than):
        self.requests.append(newer_than)

    def poll(self):
        version = self.answers.pop(0) if self.answers else None
        return None if version is None else Weights(version, {})


def test_an_actor_never_goes_back():
    loaded = []
    source = LateSource([None, 3, 3, 1, None, 7, 5])
    client = VariableClient(source, 2, lambda w: loaded.append(w.version))
    seen = []
    for _ in range(8):
        client.step()
        seen.append(client.version)
    assert loaded == [3, 7]
    assert seen == [-1, 3, 3, 3, 3, 7, 7, 7]
    assert source.requests == [-1, 3, 3, 7], "asks every second step, for what is newer than it has"
