"""Columns get the names that say what they hold. Workers of the version before must be stopped first."""

from alembic import op

revision = "0012"
down_revision = "0011"
expands = False  # running workers ask for the old names: stop all workers first

_COLUMNS = (
    ("job", "parked", "on_hold"),
    ("job", "company", "begun_together"),
    ("job", "turn", "fair_position"),
    ("account", "turn", "fair_position"),
    ("account", "ramp", "slow_start_limit"),
    ("account", "needs", "balance_needed"),
    ("submission", "stated", "cost_stated"),
    ("submission", "quiet_at", "visible_by"),
)


def upgrade() -> None:
    """Rename the columns, and the index that is named after one."""
    for table, old, new in _COLUMNS:
        op.alter_column(table, old, new_column_name=new)
    op.execute("ALTER INDEX job_parked RENAME TO job_on_hold")
    op.rename_table("stray", "unowned_image")
    op.execute("ALTER INDEX stray_pkey RENAME TO unowned_image_pkey")
