"""What is due of a long line, of which the first jobs wait for a time of their own. It only changes indexes."""

from alembic import op

revision = "0028"
down_revision = "0027"
expands = True  # code of the version before asks the same, and is answered sooner too

UP = """
DROP INDEX job_dispatch;
CREATE INDEX job_dispatch ON job (account, priority DESC, fair_position, due_at) WHERE state = 'queued' AND NOT on_hold;
CREATE INDEX job_due ON job (account, due_at) WHERE state = 'queued' AND NOT on_hold;
"""


def upgrade() -> None:
    """Let the line's index say when a job is due, and add one in the order of due times."""
    op.execute(UP)
