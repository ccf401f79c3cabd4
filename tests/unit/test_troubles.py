"""What a worker tells of its surroundings: the newest words, for as long as the trouble lasts."""

from worker.troubles import BROKER, BUCKET, LASTS_SECONDS, REPEAT_SECONDS, Troubles


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_newest_words_of_each_kind_stand_until_it_is_over() -> None:
    troubles = Troubles()
    troubles.note(BUCKET, "HTTP 503")
    troubles.note(BUCKET, "HTTP 403:\n  AccessDenied")
    troubles.note(BROKER, "refused")
    assert troubles.present() == {BUCKET: "HTTP 403: AccessDenied", BROKER: "refused"}
    troubles.over(BUCKET)
    assert troubles.present() == {BROKER: "refused"}


def test_a_trouble_that_nobody_meets_any_more_ends_by_itself() -> None:
    clock = Clock()
    troubles = Troubles(clock)
    troubles.note(BUCKET, "x")
    clock.now += LASTS_SECONDS - 1
    assert troubles.present()
    clock.now += 2
    assert not troubles.present()


def test_it_is_written_when_it_changes_and_again_while_it_lasts() -> None:
    clock = Clock()
    troubles = Troubles(clock)
    assert troubles.news() is None
    troubles.note(BUCKET, "x")
    said = troubles.news()
    assert said == {BUCKET: "x"}
    troubles.written(said)
    assert troubles.news() is None
    clock.now += REPEAT_SECONDS + 1
    assert troubles.news() == {BUCKET: "x"}
    troubles.over(BUCKET)
    assert troubles.news() == {}
    troubles.written({})
    clock.now += REPEAT_SECONDS + 1
    assert troubles.news() is None


def test_no_secret_of_a_url_is_told() -> None:
    troubles = Troubles()
    troubles.note(BROKER, "cannot reach redis://user:secret@host/0 for https://x.example/a?X-Amz-Signature=abc")
    assert troubles.present()[BROKER] == "cannot reach redis://user:***@host/0 for https://x.example/a?***"
