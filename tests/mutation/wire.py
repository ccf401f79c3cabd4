"""Mutants of the paid call: what left, what may have been bought, and what is never repeated."""

from typing import Final

from tests.mutation.mutant import Mutant

_POST: Final = "tests/unit/test_paid_post.py::"
_REFUSALS: Final = "tests/unit/test_refusals.py::"

MUTANTS: Final = (
    Mutant(
        removed="the look at the clock before the first byte",
        protects="a sender that was frozen does not pay after somebody judged it gone",
        file="worker/paid_post.py",
        old="        if event in {_STARTS_WRITING, _STARTS_BODY} and boot_clock() > self.send_before:\n",
        new="        if event in {_STARTS_WRITING, _STARTS_BODY} and boot_clock() < 0:\n",
        tests=(_POST + "test_a_sender_that_was_held_up_sends_no_byte",),
    ),
    Mutant(
        removed="the proof of what left",
        protects="a call that may have been bought is never taken for one that was not sent",
        file="worker/paid_post.py",
        old="        return Lost(reason, self.status, bytes(self.body)) if self.writing else NotSent(reason)\n",
        new="        return NotSent(reason)\n",
        tests=(_POST + "test_a_request_that_left_without_a_whole_answer_is_lost_and_sent_once",),
    ),
    Mutant(
        removed="the proof that nothing left",
        protects="a refused connection holds no job",
        file="worker/paid_post.py",
        old="        return Lost(reason, self.status, bytes(self.body)) if self.writing else NotSent(reason)\n",
        new="        return Lost(reason, self.status, bytes(self.body))\n",
        tests=(_POST + "test_a_refused_connection_was_not_sent",),
    ),
    Mutant(
        removed="the fresh connection of each paid call",
        protects="a connection that the peer closes just then makes no doubt for nothing",
        file="worker/paid_post.py",
        old="limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),",
        new="limits=httpx.Limits(max_connections=None),",
        also=(', "Connection": "close"}', "}"),
        tests=(_POST + "test_every_request_takes_a_fresh_connection",),
    ),
    Mutant(
        removed="the doubt about an answer that was lost",
        protects="what may have been bought is held, not counted as refused",
        file="worker/providers/refusals.py",
        old="    return Refused(Outcome.UNKNOWN, Again.AFTER, code, result.reason, http_status=result.status)\n",
        new="    return Refused(Outcome.REJECTED, Again.AFTER, code, result.reason, http_status=result.status)\n",
        tests=(_REFUSALS + "test_what_was_never_sent_waits_and_what_was_lost_is_held",),
    ),
    Mutant(
        removed="the doubt about a status that no document names",
        protects="what may have been bought is held, not sent again",
        file="worker/providers/refusals.py",
        old='    return Row(status, None, "provider_error", Outcome.UNKNOWN, again)\n',
        new='    return Row(status, None, "provider_error", Outcome.REJECTED, again)\n',
        tests=(
            _REFUSALS + "test_each_error_of_bloom_says_whether_it_was_bought",
            _REFUSALS + "test_the_status_decides_at_getimg_whatever_the_body",
        ),
    ),
    Mutant(
        removed="the hold on a job in doubt",
        protects="a lost call is never sent again by itself",
        file="worker/submit.py",
        old="    if answer.outcome is Outcome.UNKNOWN:\n        return here(JobState.IN_DOUBT",
        new="    if answer.outcome is None:\n        return here(JobState.IN_DOUBT",
        tests=(
            "tests/integration/test_lookup.py::test_where_nothing_can_be_looked_up_a_lost_call_is_held_whatever_its_batch_says",
        ),
    ),
    Mutant(
        removed="the blindness of paid calls for proxies",
        protects="a key and a prompt go to the provider and to nobody between",
        file="worker/paid_post.py",
        old="            trust_env=False,\n",
        new="            proxy=__import__('os').environ.get('HTTP_PROXY'),\n",
        tests=(_POST + "test_a_proxy_from_the_environment_sees_nothing",),
    ),
    Mutant(
        removed="the second question about a picture that a page lacks",
        protects="a picture missing from a list is not taken for lost",
        file="worker/poll.py",
        old="    missing = [[upstream_id] for upstream_id in upstream_ids if upstream_id not in known]\n",
        new="    missing: list[list[str]] = []\n",
        tests=("tests/integration/test_poll.py::test_a_picture_missing_from_a_page_is_asked_for_by_itself",),
    ),
)
