"""Pictures in a provider's list that may be what a lost call bought, each with a small preview in the bucket."""

from alembic import op

revision = "0026"
down_revision = "0025"
expands = True  # code of the version before neither reads nor writes it; its pruning takes the rows along


def upgrade() -> None:
    """Add the table of candidates."""
    op.execute("""
        CREATE TABLE candidate (
          submission_id uuid NOT NULL REFERENCES submission (id) ON DELETE CASCADE,
          upstream_id text NOT NULL,
          account text NOT NULL REFERENCES account (name),
          made_at timestamptz,
          found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
          due_at timestamptz DEFAULT clock_timestamp(),
          tries integer NOT NULL DEFAULT 0,
          key text,
          PRIMARY KEY (submission_id, upstream_id)
        )
    """)
    op.execute("CREATE INDEX candidate_due ON candidate (account, due_at) WHERE due_at IS NOT NULL")
    op.execute("CREATE INDEX candidate_image ON candidate (account, upstream_id)")
