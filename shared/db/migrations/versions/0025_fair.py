"""Which queued job of an account has waited longest. It only adds an index."""

from alembic import op

revision = "0025"
down_revision = "0024"
expands = True  # code of the version before does not ask for the index


def upgrade() -> None:
    """Add the index over jobs that wait for their payment."""
    op.execute("CREATE INDEX job_waiting ON job (account, created_at) WHERE state = 'queued' AND NOT on_hold")
