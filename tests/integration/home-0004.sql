-- A database made by genqueue at schema 0004 (commit 0418c0e): real work in batch "spring", then a trial in batch
-- "trial" with the simulator on port 43210. Written by that code's own functions and pg_dump; no secret is in it.
CREATE TABLE public.account (
    name text NOT NULL,
    provider text NOT NULL,
    unit text NOT NULL,
    concurrency integer NOT NULL,
    windows jsonb DEFAULT '[]'::jsonb NOT NULL,
    turn bigint DEFAULT 0 NOT NULL,
    not_before timestamp with time zone,
    doubts integer DEFAULT 0 NOT NULL,
    paused_at timestamp with time zone,
    paused_code text,
    paused_reason text,
    action_url text,
    balance numeric,
    notes text,
    seen_at timestamp with time zone,
    daily_cap numeric,
    ramp integer,
    probe_at timestamp with time zone,
    probes integer DEFAULT 0 NOT NULL,
    needs numeric,
    swept_until timestamp with time zone,
    sweep_at timestamp with time zone,
    CONSTRAINT account_concurrency_check CHECK ((concurrency > 0)),
    CONSTRAINT account_daily_cap_check CHECK ((daily_cap >= (0)::numeric)),
    CONSTRAINT account_paused_has_reason CHECK (((paused_at IS NULL) = (paused_code IS NULL))),
    CONSTRAINT account_ramp_check CHECK ((ramp > 0))
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.balance_reading (
    id bigint NOT NULL,
    account text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    base boolean NOT NULL,
    balance numeric NOT NULL,
    settled numeric NOT NULL,
    held numeric NOT NULL,
    held_ever numeric NOT NULL,
    in_air numeric NOT NULL,
    just_settled numeric NOT NULL,
    unpriced_held integer NOT NULL,
    unpriced_in_air integer NOT NULL
);
ALTER TABLE public.balance_reading ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.balance_reading_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.batch (
    id uuid NOT NULL,
    name text NOT NULL,
    on_unknown text DEFAULT 'hold'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    caps jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT batch_on_unknown_check CHECK ((on_unknown = ANY (ARRAY['hold'::text, 'resend'::text])))
);
CREATE TABLE public.image (
    job_id uuid NOT NULL,
    index integer NOT NULL,
    submission_id uuid NOT NULL,
    account text NOT NULL,
    upstream_id text,
    state text NOT NULL,
    link text,
    link_expires_at timestamp with time zone,
    tries integer DEFAULT 0 NOT NULL,
    error_code text,
    error text,
    bucket text,
    key text,
    sha256 bytea,
    bytes bigint,
    content_type text,
    width integer,
    height integer,
    stored_at timestamp with time zone,
    CONSTRAINT image_failed_has_code CHECK (((state <> 'failed'::text) OR (error_code IS NOT NULL))),
    CONSTRAINT image_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'processing'::text, 'ready'::text, 'stored'::text, 'upstream_only'::text, 'failed'::text]))),
    CONSTRAINT image_stored_has_object CHECK (((state = 'stored'::text) = ((key IS NOT NULL) AND (sha256 IS NOT NULL))))
);
CREATE TABLE public.job (
    id uuid NOT NULL,
    batch_id uuid NOT NULL,
    custom_id text NOT NULL,
    account text NOT NULL,
    provider text NOT NULL,
    request jsonb NOT NULL,
    fingerprint bytea NOT NULL,
    images integer NOT NULL,
    state text NOT NULL,
    due_at timestamp with time zone,
    epoch integer DEFAULT 0 NOT NULL,
    claimed_by text,
    priority smallint DEFAULT 0 NOT NULL,
    turn bigint DEFAULT 0 NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    link_expires_at timestamp with time zone,
    deadline_at timestamp with time zone NOT NULL,
    collect_until timestamp with time zone NOT NULL,
    error_code text,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    company smallint,
    crashes smallint DEFAULT 0 NOT NULL,
    parked boolean DEFAULT false NOT NULL,
    cancel_requested_at timestamp with time zone,
    CONSTRAINT job_due_iff_not_final CHECK (((due_at IS NULL) = (state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT job_failed_has_code CHECK (((state <> ALL (ARRAY['failed'::text, 'in_doubt'::text])) OR (error_code IS NOT NULL))),
    CONSTRAINT job_finished_iff_final CHECK (((finished_at IS NOT NULL) = (state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT job_images_check CHECK (((images >= 1) AND (images <= 10))),
    CONSTRAINT job_state_known CHECK ((state = ANY (ARRAY['queued'::text, 'submitting'::text, 'pending'::text, 'processing'::text, 'transferring'::text, 'in_doubt'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);
CREATE TABLE public.job_event (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    epoch integer NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    actor text NOT NULL,
    code text,
    note text
);
ALTER TABLE public.job_event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.job_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.ledger (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    submission_id uuid NOT NULL,
    job_id uuid NOT NULL,
    account text NOT NULL,
    kind text NOT NULL,
    unit text NOT NULL,
    reserved numeric DEFAULT 0 NOT NULL,
    settled numeric DEFAULT 0 NOT NULL,
    held numeric DEFAULT 0 NOT NULL,
    CONSTRAINT ledger_kind_check CHECK ((kind = ANY (ARRAY['reserve'::text, 'settle'::text, 'release'::text, 'hold'::text])))
);
ALTER TABLE public.ledger ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ledger_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.ledger_sum (
    account text NOT NULL,
    until timestamp with time zone NOT NULL,
    reserved numeric NOT NULL,
    settled numeric NOT NULL,
    held numeric NOT NULL,
    held_ever numeric NOT NULL
);
CREATE TABLE public.request_slot (
    id bigint NOT NULL,
    account text NOT NULL,
    taken_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    kind text NOT NULL,
    CONSTRAINT request_slot_kind_check CHECK ((kind = ANY (ARRAY['submit'::text, 'poll'::text])))
);
ALTER TABLE public.request_slot ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.request_slot_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.stray (
    account text NOT NULL,
    upstream_id text NOT NULL,
    made_at timestamp with time zone NOT NULL,
    found_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    note text NOT NULL
);
CREATE TABLE public.submission (
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    epoch integer NOT NULL,
    account text NOT NULL,
    sender text NOT NULL,
    sender_lock bigint NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    send_by timestamp with time zone NOT NULL,
    outcome text,
    answered_at timestamp with time zone,
    http_status integer,
    upstream_id text,
    error_code text,
    error text,
    reserved numeric,
    settled numeric,
    unit text NOT NULL,
    batch_id uuid NOT NULL,
    quiet_at timestamp with time zone NOT NULL,
    inferred boolean DEFAULT false NOT NULL,
    key_id text,
    stated boolean DEFAULT false NOT NULL,
    sender_over boolean DEFAULT false NOT NULL,
    CONSTRAINT submission_outcome_check CHECK ((outcome = ANY (ARRAY['not_sent'::text, 'rejected'::text, 'accepted'::text, 'unknown'::text])))
);
CREATE TABLE public.usage_reading (
    id bigint NOT NULL,
    account text NOT NULL,
    key_id text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    used numeric NOT NULL
);
ALTER TABLE public.usage_reading ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.usage_reading_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.worker (
    name text NOT NULL,
    lock_key bigint NOT NULL,
    slots integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    last_tick_at timestamp with time zone DEFAULT now() NOT NULL
);
INSERT INTO public.account VALUES
	('openrouter', 'openrouter', 'USD', 8, '[]', 2, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL),
	('getimg', 'getimg', 'USD', 8, '[]', 8, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL),
	('bloom', 'bloom', 'credit', 8, '[]', 12, NULL, 0, NULL, NULL, NULL, NULL, 90, NULL, '2026-11-29 12:23:27.551318+00', NULL, NULL, NULL, 0, NULL, NULL, NULL);
INSERT INTO public.alembic_version VALUES
	('0004');
INSERT INTO public.batch VALUES
	('01a22742-9031-774c-8cf7-8603e90b53a6', 'spring', 'hold', '2026-11-29 12:23:23.429592+00', '{}'),
	('01a22742-96e2-7325-8988-be4a9e7b9384', 'trial', 'hold', '2026-11-29 12:23:25.153266+00', '{}');
INSERT INTO public.image VALUES
	('01a22742-903e-7646-886d-6882f5fadb11', 0, '01a22742-90a0-7495-afd7-c19b506e5528', 'bloom', 'real-pending', 'pending', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-9162-72f4-a34e-13bedcadf8b2', 0, '01a22742-9193-76bf-a66d-f183dac2c3c7', 'bloom', 'real-processing', 'processing', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-9211-71b3-9f57-2b4ad9f1c13f', 0, '01a22742-9242-77c3-8f9f-f187db75d8db', 'getimg', 'real-transferring', 'ready', 'https://results.example/real-transferring.png', NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-92ab-700c-90e9-063526b45c42', 0, '01a22742-92ff-7728-a5a2-837710b21e13', 'getimg', 'real-succeeded', 'stored', NULL, NULL, 0, NULL, NULL, 'genqueue', 'images/real-succeeded.png', '\xf38972a13307797d13501fc52c85dfdb86c6ee761a70d9d3330e8874d8c0afb0', 1234, 'image/png', 64, 64, '2026-11-29 12:23:24.328535+00'),
	('01a22742-94ae-76e0-8652-ef97b3ba980a', 0, '01a22742-94e8-75cf-8bf3-dd61b0c11522', 'bloom', 'real-expired', 'failed', 'https://results.example/y.png', NULL, 0, 'result_expired', 'the link died', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-96e8-77ff-9489-4ad861ef2f15', 0, '01a22742-9705-7637-bd40-654127688bbd', 'bloom', 'sim-pending', 'pending', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-9756-7747-a516-47b0df4b185b', 0, '01a22742-9775-70f0-aab8-5fdcc6b62672', 'bloom', 'sim-processing', 'processing', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-97cb-76e1-8c01-55aab0605293', 0, '01a22742-97e9-7188-8e18-8a2b35318a26', 'getimg', 'sim-transferring', 'ready', 'https://results.example/sim-transferring.png', NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22742-9818-721d-9f27-ec3ae748cba3', 0, '01a22742-983a-707b-98bd-8ade4c56316d', 'getimg', 'sim-succeeded', 'stored', NULL, NULL, 0, NULL, NULL, 'genqueue', 'images/sim-succeeded.png', '\x864a8739c5db3c0deddec888ee1ad1d73e81c9639a8167998e47b9a113c9eac9', 1234, 'image/png', 64, 64, '2026-11-29 12:23:25.534401+00'),
	('01a22742-98cc-7736-9c9b-4ca7724c55af', 0, '01a22742-9909-73ee-9ce8-fd82ebda679c', 'bloom', 'sim-expired', 'failed', 'https://results.example/y.png', NULL, 0, 'result_expired', 'the link died', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.job VALUES
	('01a22742-903e-7646-886d-6882f5fadb11', '01a22742-9031-774c-8cf7-8603e90b53a6', 'pending', 'bloom', 'bloom', '{"n": 1, "prompt": "spring pending"}', '\xfdb7f607652c7a56898f71d952cb03baf7798dcd346422378c96af351cc39b73', 1, 'pending', '2026-11-29 12:23:25.654449+00', 1, NULL, 0, 1, 0, NULL, '2036-11-26 12:23:23.429592+00', '2036-11-26 12:23:23.429592+00', NULL, NULL, '2026-11-29 12:23:23.429592+00', NULL, NULL, 0, false, NULL),
	('01a22742-9162-72f4-a34e-13bedcadf8b2', '01a22742-9031-774c-8cf7-8603e90b53a6', 'processing', 'bloom', 'bloom', '{"n": 1, "prompt": "spring processing"}', '\x42d876a70fdfb005a4b407b4d5ab50b64c8e735bfaf487a86c94e43a4abe9981', 1, 'processing', '2026-11-29 12:23:25.89601+00', 1, NULL, 0, 2, 0, NULL, '2036-11-26 12:23:23.718392+00', '2036-11-26 12:23:23.718392+00', NULL, NULL, '2026-11-29 12:23:23.718392+00', NULL, NULL, 0, false, NULL),
	('01a22742-9211-71b3-9f57-2b4ad9f1c13f', '01a22742-9031-774c-8cf7-8603e90b53a6', 'transferring', 'getimg', 'getimg', '{"n": 1, "prompt": "spring transferring"}', '\x4dfc7043a85c1ce2c537636952a858582657f8b949de7bc41dc5dbeb27ae1c08', 1, 'transferring', '2026-11-29 12:23:26.026406+00', 1, NULL, 0, 1, 0, NULL, '2036-11-26 12:23:23.909272+00', '2036-11-26 12:23:23.909272+00', NULL, NULL, '2026-11-29 12:23:23.909272+00', NULL, NULL, 0, false, NULL),
	('01a22742-92ab-700c-90e9-063526b45c42', '01a22742-9031-774c-8cf7-8603e90b53a6', 'succeeded', 'getimg', 'getimg', '{"n": 1, "prompt": "spring succeeded"}', '\x531793c6723e9647f26720760e8471f01af93c8769446c895d720395f1856b25', 1, 'succeeded', NULL, 1, NULL, 0, 2, 0, NULL, '2036-11-26 12:23:24.063292+00', '2036-11-26 12:23:24.063292+00', NULL, NULL, '2026-11-29 12:23:24.063292+00', '2026-11-29 12:23:24.353176+00', NULL, 0, false, NULL),
	('01a22742-93e9-70ea-9f9a-8fa3674f25af', '01a22742-9031-774c-8cf7-8603e90b53a6', 'failed', 'bloom', 'bloom', '{"n": 1, "prompt": "spring failed"}', '\xce649f3dd2aa5cf595a71c6435f3b9f5c1f63310ff5fceaa6f9fab923ee3f42a', 1, 'failed', NULL, 1, NULL, 0, 3, 0, NULL, '2036-11-26 12:23:24.361009+00', '2036-11-26 12:23:24.361009+00', 'content_refused', 'refused', '2026-11-29 12:23:24.361009+00', '2026-11-29 12:23:24.505025+00', NULL, 0, false, NULL),
	('01a22742-94ae-76e0-8652-ef97b3ba980a', '01a22742-9031-774c-8cf7-8603e90b53a6', 'expired', 'bloom', 'bloom', '{"n": 1, "prompt": "spring expired"}', '\x790e5956e8b4645a6ee555cbc4bbc3198684fc22b170f597f8a8924044bcb83f', 1, 'failed', NULL, 1, NULL, 0, 4, 0, NULL, '2036-11-26 12:23:24.545584+00', '2036-11-26 12:23:24.545584+00', 'result_expired', 'the link died', '2026-11-29 12:23:24.545584+00', '2026-11-29 12:23:24.733407+00', NULL, 0, false, NULL),
	('01a22742-9559-7561-be04-1029a5b1158b', '01a22742-9031-774c-8cf7-8603e90b53a6', 'looked-up', 'bloom', 'bloom', '{"n": 1, "prompt": "spring looked-up"}', '\x8935753986417790f56b0f4d87a7300f2d13f589ff4e1060e3aa8311fcd99ae4', 1, 'in_doubt', '2026-11-29 13:23:24.832909+00', 1, NULL, 0, 5, 0, NULL, '2036-11-26 12:23:24.748319+00', '2036-11-26 12:23:24.748319+00', 'answer_lost', 'the connection ended', '2026-11-29 12:23:24.748319+00', NULL, NULL, 0, false, NULL),
	('01a22742-95c0-7153-8730-5fef030d28ad', '01a22742-9031-774c-8cf7-8603e90b53a6', 'held', 'getimg', 'getimg', '{"n": 1, "prompt": "spring held"}', '\xe446c256cc29191e29be258d0b2492a11d5e685d471e61563f7cccf6d963ab01', 1, 'in_doubt', '2026-11-30 12:23:24.946343+00', 1, NULL, 0, 3, 0, NULL, '2036-11-26 12:23:24.850372+00', '2036-11-26 12:23:24.850372+00', 'answer_lost', 'the connection ended; its provider lists nothing to find it in', '2026-11-29 12:23:24.850372+00', NULL, NULL, 0, true, NULL),
	('01a22742-9626-7330-aeda-14953c2809a0', '01a22742-9031-774c-8cf7-8603e90b53a6', 'kept-reply', 'openrouter', 'openrouter', '{"n": 1, "prompt": "spring kept-reply"}', '\x7f1614aa40bdd78354fb6cf4d6254375c6e12143d3cd504ecfcb1ac869b1bf85', 1, 'submitting', '2026-11-29 12:24:24.992524+00', 1, 'a-worker-of-0418c0e', 0, 1, 0, NULL, '2036-11-26 12:23:24.961608+00', '2036-11-26 12:23:24.961608+00', NULL, NULL, '2026-11-29 12:23:24.961608+00', NULL, NULL, 0, false, NULL),
	('01a22742-9661-73dd-ae4f-92cddbe56a0b', '01a22742-9031-774c-8cf7-8603e90b53a6', 'submitting', 'bloom', 'bloom', '{"n": 1, "prompt": "spring submitting"}', '\x4e534d8d098972ed008b721ea4ab898f6bbc476a627fbae02756ad26c2bafc01', 1, 'submitting', '2026-11-29 12:24:25.048472+00', 1, 'a-worker-of-0418c0e', 0, 6, 0, NULL, '2036-11-26 12:23:25.017738+00', '2036-11-26 12:23:25.017738+00', NULL, NULL, '2026-11-29 12:23:25.017738+00', NULL, NULL, 0, false, NULL),
	('01a22742-96e8-77ff-9489-4ad861ef2f15', '01a22742-96e2-7325-8988-be4a9e7b9384', 'pending', 'bloom', 'bloom', '{"n": 1, "prompt": "trial pending"}', '\x5da286410d838d303e85df75c66d7095eb9a045f09a0b31e434ddf0a9689938d', 1, 'pending', '2026-11-29 12:23:27.205241+00', 1, NULL, 0, 7, 0, NULL, '2036-11-26 12:23:25.153266+00', '2036-11-26 12:23:25.153266+00', NULL, NULL, '2026-11-29 12:23:25.153266+00', NULL, NULL, 0, false, NULL),
	('01a22742-9756-7747-a516-47b0df4b185b', '01a22742-96e2-7325-8988-be4a9e7b9384', 'processing', 'bloom', 'bloom', '{"n": 1, "prompt": "trial processing"}', '\x00d7ac64b263c091772c333ca060f921b50a716a56003dfc60e52f5201f0f291', 1, 'processing', '2026-11-29 12:23:27.365323+00', 1, NULL, 0, 8, 0, NULL, '2036-11-26 12:23:25.256854+00', '2036-11-26 12:23:25.256854+00', NULL, NULL, '2026-11-29 12:23:25.256854+00', NULL, NULL, 0, false, NULL),
	('01a22742-97cb-76e1-8c01-55aab0605293', '01a22742-96e2-7325-8988-be4a9e7b9384', 'transferring', 'getimg', 'getimg', '{"n": 1, "prompt": "trial transferring"}', '\xb649a2c299a96aa9e036b92365672c1229f6a991be16a8c373cf3f9a3afd211f', 1, 'transferring', '2026-11-29 12:23:27.440677+00', 1, NULL, 0, 5, 0, NULL, '2036-11-26 12:23:25.3747+00', '2036-11-26 12:23:25.3747+00', NULL, NULL, '2026-11-29 12:23:25.3747+00', NULL, NULL, 0, false, NULL),
	('01a22742-9818-721d-9f27-ec3ae748cba3', '01a22742-96e2-7325-8988-be4a9e7b9384', 'succeeded', 'getimg', 'getimg', '{"n": 1, "prompt": "trial succeeded"}', '\xe97b188594df81ed0a845781e1b1fc71f624020794f09ed565a2fb9bece30a39', 1, 'succeeded', NULL, 1, NULL, 0, 6, 0, NULL, '2036-11-26 12:23:25.455797+00', '2036-11-26 12:23:25.455797+00', NULL, NULL, '2026-11-29 12:23:25.455797+00', '2026-11-29 12:23:25.540976+00', NULL, 0, false, NULL),
	('01a22742-987c-770b-8db3-72c1447b77a8', '01a22742-96e2-7325-8988-be4a9e7b9384', 'failed', 'bloom', 'bloom', '{"n": 1, "prompt": "trial failed"}', '\xd575d53c6af0230ec90b7b8e11c63bb64cdd63507a9593d7725162e76673b109', 1, 'failed', NULL, 1, NULL, 0, 9, 0, NULL, '2036-11-26 12:23:25.550381+00', '2036-11-26 12:23:25.550381+00', 'content_refused', 'refused', '2026-11-29 12:23:25.550381+00', '2026-11-29 12:23:25.621219+00', NULL, 0, false, NULL),
	('01a22742-98cc-7736-9c9b-4ca7724c55af', '01a22742-96e2-7325-8988-be4a9e7b9384', 'expired', 'bloom', 'bloom', '{"n": 1, "prompt": "trial expired"}', '\x7184fce7be46cd0f30f2bd8925ff40e4819e393d8a41348c0f8eb385d383af1a', 1, 'failed', NULL, 1, NULL, 0, 10, 0, NULL, '2036-11-26 12:23:25.634925+00', '2036-11-26 12:23:25.634925+00', 'result_expired', 'the link died', '2026-11-29 12:23:25.634925+00', '2026-11-29 12:23:25.745525+00', NULL, 0, false, NULL),
	('01a22742-9946-7254-9079-f52c0cf0b6ed', '01a22742-96e2-7325-8988-be4a9e7b9384', 'looked-up', 'bloom', 'bloom', '{"n": 1, "prompt": "trial looked-up"}', '\xae43592d65c1f1750a1f25bb4045c89eb1fb8d7ae5b0b777aa14a09e262db7b7', 1, 'in_doubt', '2026-11-29 13:23:25.942075+00', 1, NULL, 0, 11, 0, NULL, '2036-11-26 12:23:25.761561+00', '2036-11-26 12:23:25.761561+00', 'answer_lost', 'the connection ended', '2026-11-29 12:23:25.761561+00', NULL, NULL, 0, false, NULL),
	('01a22742-9a34-7042-b486-af33209f4a5d', '01a22742-96e2-7325-8988-be4a9e7b9384', 'held', 'getimg', 'getimg', '{"n": 1, "prompt": "trial held"}', '\x1709f0155661a6c1dd2e8b6e4a32106f862138eb2892c91beed1c7f71ed1aad7', 1, 'in_doubt', '2026-11-30 12:23:26.137364+00', 1, NULL, 0, 7, 0, NULL, '2036-11-26 12:23:25.969361+00', '2036-11-26 12:23:25.969361+00', 'answer_lost', 'the connection ended; its provider lists nothing to find it in', '2026-11-29 12:23:25.969361+00', NULL, NULL, 0, true, NULL),
	('01a22742-9afc-766c-bbbe-421c502008f0', '01a22742-96e2-7325-8988-be4a9e7b9384', 'kept-reply', 'openrouter', 'openrouter', '{"n": 1, "prompt": "trial kept-reply"}', '\x410617501c963920ac4f4daef1c1f6602e07e8b1b82461d1c028acbb33693b43', 1, 'submitting', '2026-11-29 12:24:26.309342+00', 1, 'a-worker-of-0418c0e', 0, 2, 0, NULL, '2036-11-26 12:23:26.162314+00', '2036-11-26 12:23:26.162314+00', NULL, NULL, '2026-11-29 12:23:26.162314+00', NULL, NULL, 0, false, NULL),
	('01a22742-9bdd-7530-8849-22c7f2e30c4a', '01a22742-96e2-7325-8988-be4a9e7b9384', 'submitting', 'bloom', 'bloom', '{"n": 1, "prompt": "trial submitting"}', '\x9cefb1a004b05a541845c5651bb0d7fd44845241cb5ee9a8f63749cc64e905cd', 1, 'submitting', '2026-11-29 12:24:26.53294+00', 1, 'a-worker-of-0418c0e', 0, 12, 0, NULL, '2036-11-26 12:23:26.404868+00', '2036-11-26 12:23:26.404868+00', NULL, NULL, '2026-11-29 12:23:26.404868+00', NULL, NULL, 0, false, NULL);
INSERT INTO public.job VALUES
	('01a22742-96a4-7466-816e-df07ccf0410c', '01a22742-9031-774c-8cf7-8603e90b53a6', 'refused-once', 'getimg', 'getimg', '{"n": 1, "prompt": "spring refused-once"}', '\xc055c74196e768f763b6689330d7cd7103bab95b079ac722583295a9ff6acaad', 1, 'queued', '2026-11-29 12:23:30.14066+00', 1, NULL, 0, 2000004, 0, NULL, '2036-11-26 12:23:25.08138+00', '2036-11-26 12:23:25.08138+00', 'rate_limited', 'slower', '2026-11-29 12:23:25.08138+00', NULL, NULL, 0, false, NULL),
	('01a22742-9cf4-75c0-a89d-25a7d7ed928f', '01a22742-96e2-7325-8988-be4a9e7b9384', 'refused-once', 'getimg', 'getimg', '{"n": 1, "prompt": "trial refused-once"}', '\x1fe3b5a39a7fa25dd3f0b53fa70ef0040118e7793900b151701777c476f6ff59', 1, 'queued', '2026-11-29 12:23:31.906625+00', 1, NULL, 0, 1000008, 0, NULL, '2036-11-26 12:23:26.646845+00', '2036-11-26 12:23:26.646845+00', 'rate_limited', 'slower', '2026-11-29 12:23:26.646845+00', NULL, NULL, 0, false, NULL),
	('01a22742-9e3c-77c2-9961-8f87c26e34f8', '01a22742-9031-774c-8cf7-8603e90b53a6', 'cancelled', 'bloom', 'bloom', '{"n": 1, "prompt": "spring cancelled"}', '\x6b6de509668f474073ea3474e94368d9ad779c5c0ee2dfcd2f7e1bcbc52e96f8', 1, 'cancelled', NULL, 0, NULL, 0, 13, 0, NULL, '2036-11-26 12:23:27.017067+00', '2036-11-26 12:23:27.017067+00', NULL, NULL, '2026-11-29 12:23:27.017067+00', '2026-11-29 12:23:27.086288+00', NULL, 0, false, NULL),
	('01a22742-9e9e-76ae-a794-fcd57e5609fa', '01a22742-9031-774c-8cf7-8603e90b53a6', 'capped', 'getimg', 'getimg', '{"n": 1, "prompt": "spring capped"}', '\x31238a0158dc126f6737ce3126b1fe162dbdf9979fa9f369ea3876f184b6a166', 1, 'queued', '2026-11-30 12:23:27.200148+00', 0, NULL, 0, 9, 0, NULL, '2036-11-26 12:23:27.12368+00', '2036-11-26 12:23:27.12368+00', 'batch_cap_reached', 'the batch has a cap', '2026-11-29 12:23:27.12368+00', NULL, NULL, 0, true, NULL),
	('01a22742-9f0e-768f-9ac1-3627369cbeb2', '01a22742-9031-774c-8cf7-8603e90b53a6', 'queued', 'bloom', 'bloom', '{"n": 1, "prompt": "spring queued"}', '\x3eabaca60b0e0b39493c62d9e8ef41e44ac273ef6f1180462bb1bf1dcaaac347', 1, 'queued', '2026-11-29 12:23:27.224146+00', 0, NULL, 0, 13, 0, NULL, '2036-11-26 12:23:27.224146+00', '2036-11-26 12:23:27.224146+00', NULL, NULL, '2026-11-29 12:23:27.224146+00', NULL, NULL, 0, false, NULL),
	('01a22742-9f54-7541-a4e5-87f7d9677386', '01a22742-96e2-7325-8988-be4a9e7b9384', 'cancelled', 'bloom', 'bloom', '{"n": 1, "prompt": "trial cancelled"}', '\x375b8815fb5f83e1e21d34d7b7106bdf8f4eeb87c31590cc58036fe742a8307f', 1, 'cancelled', NULL, 0, NULL, 0, 13, 0, NULL, '2036-11-26 12:23:27.296923+00', '2036-11-26 12:23:27.296923+00', NULL, NULL, '2026-11-29 12:23:27.296923+00', '2026-11-29 12:23:27.353675+00', NULL, 0, false, NULL),
	('01a22742-9fa8-7165-84c9-e3c3399058b0', '01a22742-96e2-7325-8988-be4a9e7b9384', 'capped', 'getimg', 'getimg', '{"n": 1, "prompt": "trial capped"}', '\x018a83bcf75ec04de7fa3e5b82d5f39f0ed5bde3b8ab43d4363f6af416396bbe', 1, 'queued', '2026-11-30 12:23:27.452657+00', 0, NULL, 0, 9, 0, NULL, '2036-11-26 12:23:27.382574+00', '2036-11-26 12:23:27.382574+00', 'batch_cap_reached', 'the batch has a cap', '2026-11-29 12:23:27.382574+00', NULL, NULL, 0, true, NULL),
	('01a22742-9ffa-72da-b2f1-aed695798545', '01a22742-96e2-7325-8988-be4a9e7b9384', 'queued', 'bloom', 'bloom', '{"n": 1, "prompt": "trial queued"}', '\xa700a9f1cdcb1ed1dffc827a6c072d00e4587fd1476737ca9e0f6335ffd3cd12', 1, 'queued', '2026-11-29 12:23:27.462844+00', 0, NULL, 0, 13, 0, NULL, '2036-11-26 12:23:27.462844+00', '2036-11-26 12:23:27.462844+00', NULL, NULL, '2026-11-29 12:23:27.462844+00', NULL, NULL, 0, false, NULL);
INSERT INTO public.job_event OVERRIDING SYSTEM VALUE VALUES
	(1, '01a22742-903e-7646-886d-6882f5fadb11', '2026-11-29 12:23:23.606316+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(2, '01a22742-903e-7646-886d-6882f5fadb11', '2026-11-29 12:23:23.700249+00', 1, 'submitting', 'pending', 'a-worker', NULL, NULL),
	(3, '01a22742-9162-72f4-a34e-13bedcadf8b2', '2026-11-29 12:23:23.825105+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(4, '01a22742-9162-72f4-a34e-13bedcadf8b2', '2026-11-29 12:23:23.884644+00', 1, 'submitting', 'pending', 'a-worker', NULL, NULL),
	(5, '01a22742-9162-72f4-a34e-13bedcadf8b2', '2026-11-29 12:23:23.898042+00', 1, 'pending', 'processing', 'a-worker-of-0418c0e', NULL, NULL),
	(6, '01a22742-9211-71b3-9f57-2b4ad9f1c13f', '2026-11-29 12:23:24.001854+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(7, '01a22742-9211-71b3-9f57-2b4ad9f1c13f', '2026-11-29 12:23:24.048378+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(8, '01a22742-92ab-700c-90e9-063526b45c42', '2026-11-29 12:23:24.208862+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(9, '01a22742-92ab-700c-90e9-063526b45c42', '2026-11-29 12:23:24.31332+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(10, '01a22742-92ab-700c-90e9-063526b45c42', '2026-11-29 12:23:24.355395+00', 1, 'transferring', 'succeeded', 'a-worker-of-0418c0e', NULL, NULL),
	(11, '01a22742-93e9-70ea-9f9a-8fa3674f25af', '2026-11-29 12:23:24.480942+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(12, '01a22742-93e9-70ea-9f9a-8fa3674f25af', '2026-11-29 12:23:24.530053+00', 1, 'submitting', 'failed', 'a-worker', 'content_refused', 'refused'),
	(13, '01a22742-94ae-76e0-8652-ef97b3ba980a', '2026-11-29 12:23:24.678013+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(14, '01a22742-94ae-76e0-8652-ef97b3ba980a', '2026-11-29 12:23:24.713823+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(15, '01a22742-94ae-76e0-8652-ef97b3ba980a', '2026-11-29 12:23:24.738745+00', 1, 'transferring', 'failed', 'a-worker-of-0418c0e', 'result_expired', 'the link died'),
	(16, '01a22742-9559-7561-be04-1029a5b1158b', '2026-11-29 12:23:24.818906+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(17, '01a22742-9559-7561-be04-1029a5b1158b', '2026-11-29 12:23:24.842252+00', 1, 'submitting', 'in_doubt', 'a-worker', 'answer_lost', 'the connection ended'),
	(18, '01a22742-95c0-7153-8730-5fef030d28ad', '2026-11-29 12:23:24.92577+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(19, '01a22742-95c0-7153-8730-5fef030d28ad', '2026-11-29 12:23:24.956597+00', 1, 'submitting', 'in_doubt', 'a-worker', 'answer_lost', 'the connection ended; its provider lists nothing to find it in'),
	(20, '01a22742-9626-7330-aeda-14953c2809a0', '2026-11-29 12:23:25.004763+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL);
INSERT INTO public.job_event OVERRIDING SYSTEM VALUE VALUES
	(21, '01a22742-9661-73dd-ae4f-92cddbe56a0b', '2026-11-29 12:23:25.056926+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(22, '01a22742-96a4-7466-816e-df07ccf0410c', '2026-11-29 12:23:25.129668+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(23, '01a22742-96a4-7466-816e-df07ccf0410c', '2026-11-29 12:23:25.143971+00', 1, 'submitting', 'queued', 'a-worker', 'rate_limited', 'slower'),
	(24, '01a22742-96e8-77ff-9489-4ad861ef2f15', '2026-11-29 12:23:25.197976+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(25, '01a22742-96e8-77ff-9489-4ad861ef2f15', '2026-11-29 12:23:25.228766+00', 1, 'submitting', 'pending', 'a-worker', NULL, NULL),
	(26, '01a22742-9756-7747-a516-47b0df4b185b', '2026-11-29 12:23:25.33455+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(27, '01a22742-9756-7747-a516-47b0df4b185b', '2026-11-29 12:23:25.362138+00', 1, 'submitting', 'pending', 'a-worker', NULL, NULL),
	(28, '01a22742-9756-7747-a516-47b0df4b185b', '2026-11-29 12:23:25.369376+00', 1, 'pending', 'processing', 'a-worker-of-0418c0e', NULL, NULL),
	(29, '01a22742-97cb-76e1-8c01-55aab0605293', '2026-11-29 12:23:25.42362+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(30, '01a22742-97cb-76e1-8c01-55aab0605293', '2026-11-29 12:23:25.45267+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(31, '01a22742-9818-721d-9f27-ec3ae748cba3', '2026-11-29 12:23:25.510075+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(32, '01a22742-9818-721d-9f27-ec3ae748cba3', '2026-11-29 12:23:25.526624+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(33, '01a22742-9818-721d-9f27-ec3ae748cba3', '2026-11-29 12:23:25.542694+00', 1, 'transferring', 'succeeded', 'a-worker-of-0418c0e', NULL, NULL),
	(34, '01a22742-987c-770b-8db3-72c1447b77a8', '2026-11-29 12:23:25.612444+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(35, '01a22742-987c-770b-8db3-72c1447b77a8', '2026-11-29 12:23:25.631125+00', 1, 'submitting', 'failed', 'a-worker', 'content_refused', 'refused'),
	(36, '01a22742-98cc-7736-9c9b-4ca7724c55af', '2026-11-29 12:23:25.719539+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(37, '01a22742-98cc-7736-9c9b-4ca7724c55af', '2026-11-29 12:23:25.734887+00', 1, 'submitting', 'transferring', 'a-worker', NULL, NULL),
	(38, '01a22742-98cc-7736-9c9b-4ca7724c55af', '2026-11-29 12:23:25.753555+00', 1, 'transferring', 'failed', 'a-worker-of-0418c0e', 'result_expired', 'the link died'),
	(39, '01a22742-9946-7254-9079-f52c0cf0b6ed', '2026-11-29 12:23:25.905774+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(40, '01a22742-9946-7254-9079-f52c0cf0b6ed', '2026-11-29 12:23:25.9499+00', 1, 'submitting', 'in_doubt', 'a-worker', 'answer_lost', 'the connection ended');
INSERT INTO public.job_event OVERRIDING SYSTEM VALUE VALUES
	(41, '01a22742-9a34-7042-b486-af33209f4a5d', '2026-11-29 12:23:26.105758+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(42, '01a22742-9a34-7042-b486-af33209f4a5d', '2026-11-29 12:23:26.153545+00', 1, 'submitting', 'in_doubt', 'a-worker', 'answer_lost', 'the connection ended; its provider lists nothing to find it in'),
	(43, '01a22742-9afc-766c-bbbe-421c502008f0', '2026-11-29 12:23:26.348357+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(44, '01a22742-9bdd-7530-8849-22c7f2e30c4a', '2026-11-29 12:23:26.585864+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(45, '01a22742-9cf4-75c0-a89d-25a7d7ed928f', '2026-11-29 12:23:26.878571+00', 1, 'queued', 'submitting', 'a-worker-of-0418c0e', NULL, NULL),
	(46, '01a22742-9cf4-75c0-a89d-25a7d7ed928f', '2026-11-29 12:23:26.929247+00', 1, 'submitting', 'queued', 'a-worker', 'rate_limited', 'slower'),
	(47, '01a22742-9e3c-77c2-9961-8f87c26e34f8', '2026-11-29 12:23:27.089037+00', 0, 'queued', 'cancelled', 'person', NULL, NULL),
	(48, '01a22742-9e9e-76ae-a794-fcd57e5609fa', '2026-11-29 12:23:27.20186+00', 0, 'queued', 'queued', 'a-worker-of-0418c0e', 'batch_cap_reached', 'the batch has a cap'),
	(49, '01a22742-9f54-7541-a4e5-87f7d9677386', '2026-11-29 12:23:27.355866+00', 0, 'queued', 'cancelled', 'person', NULL, NULL),
	(50, '01a22742-9fa8-7165-84c9-e3c3399058b0', '2026-11-29 12:23:27.453607+00', 0, 'queued', 'queued', 'a-worker-of-0418c0e', 'batch_cap_reached', 'the batch has a cap');
INSERT INTO public.ledger OVERRIDING SYSTEM VALUE VALUES
	(1, '2026-11-29 12:23:23.629109+00', '01a22742-90a0-7495-afd7-c19b506e5528', '01a22742-903e-7646-886d-6882f5fadb11', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(2, '2026-11-29 12:23:23.669872+00', '01a22742-90a0-7495-afd7-c19b506e5528', '01a22742-903e-7646-886d-6882f5fadb11', 'bloom', 'settle', 'credit', -2, 2, 0),
	(3, '2026-11-29 12:23:23.841508+00', '01a22742-9193-76bf-a66d-f183dac2c3c7', '01a22742-9162-72f4-a34e-13bedcadf8b2', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(4, '2026-11-29 12:23:23.86577+00', '01a22742-9193-76bf-a66d-f183dac2c3c7', '01a22742-9162-72f4-a34e-13bedcadf8b2', 'bloom', 'settle', 'credit', -2, 2, 0),
	(5, '2026-11-29 12:23:24.01277+00', '01a22742-9242-77c3-8f9f-f187db75d8db', '01a22742-9211-71b3-9f57-2b4ad9f1c13f', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(6, '2026-11-29 12:23:24.033303+00', '01a22742-9242-77c3-8f9f-f187db75d8db', '01a22742-9211-71b3-9f57-2b4ad9f1c13f', 'getimg', 'settle', 'USD', -0.035, 0.035, 0),
	(7, '2026-11-29 12:23:24.240587+00', '01a22742-92ff-7728-a5a2-837710b21e13', '01a22742-92ab-700c-90e9-063526b45c42', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(8, '2026-11-29 12:23:24.300736+00', '01a22742-92ff-7728-a5a2-837710b21e13', '01a22742-92ab-700c-90e9-063526b45c42', 'getimg', 'settle', 'USD', -0.035, 0.035, 0),
	(9, '2026-11-29 12:23:24.492468+00', '01a22742-9428-75fd-ba5c-48b854787dd6', '01a22742-93e9-70ea-9f9a-8fa3674f25af', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(10, '2026-11-29 12:23:24.523012+00', '01a22742-9428-75fd-ba5c-48b854787dd6', '01a22742-93e9-70ea-9f9a-8fa3674f25af', 'bloom', 'release', 'credit', -2, 0, 0),
	(11, '2026-11-29 12:23:24.691943+00', '01a22742-94e8-75cf-8bf3-dd61b0c11522', '01a22742-94ae-76e0-8652-ef97b3ba980a', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(12, '2026-11-29 12:23:24.704914+00', '01a22742-94e8-75cf-8bf3-dd61b0c11522', '01a22742-94ae-76e0-8652-ef97b3ba980a', 'bloom', 'settle', 'credit', -2, 2, 0),
	(13, '2026-11-29 12:23:24.82733+00', '01a22742-9581-72a4-be18-db57c4b20be6', '01a22742-9559-7561-be04-1029a5b1158b', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(14, '2026-11-29 12:23:24.838251+00', '01a22742-9581-72a4-be18-db57c4b20be6', '01a22742-9559-7561-be04-1029a5b1158b', 'bloom', 'hold', 'credit', -2, 0, 2),
	(15, '2026-11-29 12:23:24.931408+00', '01a22742-95e8-7021-8dde-701c4a11cad7', '01a22742-95c0-7153-8730-5fef030d28ad', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(16, '2026-11-29 12:23:24.951823+00', '01a22742-95e8-7021-8dde-701c4a11cad7', '01a22742-95c0-7153-8730-5fef030d28ad', 'getimg', 'hold', 'USD', -0.035, 0, 0.035),
	(17, '2026-11-29 12:23:25.007829+00', '01a22742-9640-70f0-863d-67e2eac32064', '01a22742-9626-7330-aeda-14953c2809a0', 'openrouter', 'reserve', 'USD', 0, 0, 0),
	(18, '2026-11-29 12:23:25.067315+00', '01a22742-9678-735d-a216-747bc686efa2', '01a22742-9661-73dd-ae4f-92cddbe56a0b', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(19, '2026-11-29 12:23:25.132564+00', '01a22742-96c4-73d3-9f1c-e81277fff16e', '01a22742-96a4-7466-816e-df07ccf0410c', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(20, '2026-11-29 12:23:25.142664+00', '01a22742-96c4-73d3-9f1c-e81277fff16e', '01a22742-96a4-7466-816e-df07ccf0410c', 'getimg', 'release', 'USD', -0.035, 0, 0);
INSERT INTO public.ledger OVERRIDING SYSTEM VALUE VALUES
	(21, '2026-11-29 12:23:25.200861+00', '01a22742-9705-7637-bd40-654127688bbd', '01a22742-96e8-77ff-9489-4ad861ef2f15', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(22, '2026-11-29 12:23:25.209972+00', '01a22742-9705-7637-bd40-654127688bbd', '01a22742-96e8-77ff-9489-4ad861ef2f15', 'bloom', 'settle', 'credit', -2, 2, 0),
	(23, '2026-11-29 12:23:25.339397+00', '01a22742-9775-70f0-aab8-5fdcc6b62672', '01a22742-9756-7747-a516-47b0df4b185b', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(24, '2026-11-29 12:23:25.358642+00', '01a22742-9775-70f0-aab8-5fdcc6b62672', '01a22742-9756-7747-a516-47b0df4b185b', 'bloom', 'settle', 'credit', -2, 2, 0),
	(25, '2026-11-29 12:23:25.42754+00', '01a22742-97e9-7188-8e18-8a2b35318a26', '01a22742-97cb-76e1-8c01-55aab0605293', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(26, '2026-11-29 12:23:25.446333+00', '01a22742-97e9-7188-8e18-8a2b35318a26', '01a22742-97cb-76e1-8c01-55aab0605293', 'getimg', 'settle', 'USD', -0.035, 0.035, 0),
	(27, '2026-11-29 12:23:25.51195+00', '01a22742-983a-707b-98bd-8ade4c56316d', '01a22742-9818-721d-9f27-ec3ae748cba3', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(28, '2026-11-29 12:23:25.524327+00', '01a22742-983a-707b-98bd-8ade4c56316d', '01a22742-9818-721d-9f27-ec3ae748cba3', 'getimg', 'settle', 'USD', -0.035, 0.035, 0),
	(29, '2026-11-29 12:23:25.616766+00', '01a22742-98a0-73a2-8dea-1c1b579284d6', '01a22742-987c-770b-8db3-72c1447b77a8', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(30, '2026-11-29 12:23:25.628959+00', '01a22742-98a0-73a2-8dea-1c1b579284d6', '01a22742-987c-770b-8db3-72c1447b77a8', 'bloom', 'release', 'credit', -2, 0, 0),
	(31, '2026-11-29 12:23:25.721247+00', '01a22742-9909-73ee-9ce8-fd82ebda679c', '01a22742-98cc-7736-9c9b-4ca7724c55af', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(32, '2026-11-29 12:23:25.730684+00', '01a22742-9909-73ee-9ce8-fd82ebda679c', '01a22742-98cc-7736-9c9b-4ca7724c55af', 'bloom', 'settle', 'credit', -2, 2, 0),
	(33, '2026-11-29 12:23:25.909556+00', '01a22742-99bf-70f0-925b-e65012f54fed', '01a22742-9946-7254-9079-f52c0cf0b6ed', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(34, '2026-11-29 12:23:25.947359+00', '01a22742-99bf-70f0-925b-e65012f54fed', '01a22742-9946-7254-9079-f52c0cf0b6ed', 'bloom', 'hold', 'credit', -2, 0, 2),
	(35, '2026-11-29 12:23:26.118696+00', '01a22742-9a7a-7714-bc79-cb070ff86526', '01a22742-9a34-7042-b486-af33209f4a5d', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(36, '2026-11-29 12:23:26.150417+00', '01a22742-9a7a-7714-bc79-cb070ff86526', '01a22742-9a34-7042-b486-af33209f4a5d', 'getimg', 'hold', 'USD', -0.035, 0, 0.035),
	(37, '2026-11-29 12:23:26.364352+00', '01a22742-9b65-7327-86f8-2e8503d3960a', '01a22742-9afc-766c-bbbe-421c502008f0', 'openrouter', 'reserve', 'USD', 0, 0, 0),
	(38, '2026-11-29 12:23:26.593955+00', '01a22742-9c44-76f0-a057-0bff821a28fc', '01a22742-9bdd-7530-8849-22c7f2e30c4a', 'bloom', 'reserve', 'credit', 2, 0, 0),
	(39, '2026-11-29 12:23:26.889229+00', '01a22742-9d71-777c-bf25-3cf52fd504b1', '01a22742-9cf4-75c0-a89d-25a7d7ed928f', 'getimg', 'reserve', 'USD', 0.035, 0, 0),
	(40, '2026-11-29 12:23:26.92089+00', '01a22742-9d71-777c-bf25-3cf52fd504b1', '01a22742-9cf4-75c0-a89d-25a7d7ed928f', 'getimg', 'release', 'USD', -0.035, 0, 0);
INSERT INTO public.request_slot OVERRIDING SYSTEM VALUE VALUES
	(1, 'bloom', '2026-11-29 12:23:23.643824+00', 'submit'),
	(2, 'bloom', '2026-11-29 12:23:23.845266+00', 'submit'),
	(3, 'getimg', '2026-11-29 12:23:24.019313+00', 'submit'),
	(4, 'getimg', '2026-11-29 12:23:24.245659+00', 'submit'),
	(5, 'bloom', '2026-11-29 12:23:24.493439+00', 'submit'),
	(6, 'bloom', '2026-11-29 12:23:24.696786+00', 'submit'),
	(7, 'bloom', '2026-11-29 12:23:24.828312+00', 'submit'),
	(8, 'getimg', '2026-11-29 12:23:24.934268+00', 'submit'),
	(9, 'openrouter', '2026-11-29 12:23:25.009791+00', 'submit'),
	(10, 'bloom', '2026-11-29 12:23:25.072415+00', 'submit'),
	(11, 'getimg', '2026-11-29 12:23:25.133076+00', 'submit'),
	(12, 'bloom', '2026-11-29 12:23:25.201334+00', 'submit'),
	(13, 'bloom', '2026-11-29 12:23:25.340292+00', 'submit'),
	(14, 'getimg', '2026-11-29 12:23:25.428062+00', 'submit'),
	(15, 'getimg', '2026-11-29 12:23:25.513446+00', 'submit'),
	(16, 'bloom', '2026-11-29 12:23:25.6174+00', 'submit'),
	(17, 'bloom', '2026-11-29 12:23:25.722245+00', 'submit'),
	(18, 'bloom', '2026-11-29 12:23:25.916407+00', 'submit'),
	(19, 'getimg', '2026-11-29 12:23:26.121105+00', 'submit'),
	(20, 'openrouter', '2026-11-29 12:23:26.375619+00', 'submit');
INSERT INTO public.request_slot OVERRIDING SYSTEM VALUE VALUES
	(21, 'bloom', '2026-11-29 12:23:26.604395+00', 'submit'),
	(22, 'getimg', '2026-11-29 12:23:26.891153+00', 'submit');
INSERT INTO public.submission VALUES
	('01a22742-9705-7637-bd40-654127688bbd', '01a22742-96e8-77ff-9489-4ad861ef2f15', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.189817+00', '2026-11-29 12:23:45.200294+00', 'accepted', '2026-11-29 12:23:25.209111+00', 200, 'sim-pending', NULL, NULL, 2, 2, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.200296+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-9775-70f0-aab8-5fdcc6b62672', '01a22742-9756-7747-a516-47b0df4b185b', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.301284+00', '2026-11-29 12:23:45.335501+00', 'accepted', '2026-11-29 12:23:25.357992+00', 200, 'sim-processing', NULL, NULL, 2, 2, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.335502+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-97e9-7188-8e18-8a2b35318a26', '01a22742-97cb-76e1-8c01-55aab0605293', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.417551+00', '2026-11-29 12:23:45.426926+00', 'accepted', '2026-11-29 12:23:25.445845+00', 200, 'sim-transferring', NULL, NULL, 0.035, 0.035, 'USD', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.426929+00', false, '2708293032ad0656', false, false),
	('01a22742-983a-707b-98bd-8ade4c56316d', '01a22742-9818-721d-9f27-ec3ae748cba3', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.498787+00', '2026-11-29 12:23:45.51109+00', 'accepted', '2026-11-29 12:23:25.521885+00', 200, 'sim-succeeded', NULL, NULL, 0.035, 0.035, 'USD', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.511091+00', false, '2708293032ad0656', false, false),
	('01a22742-98a0-73a2-8dea-1c1b579284d6', '01a22742-987c-770b-8db3-72c1447b77a8', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.600759+00', '2026-11-29 12:23:45.61384+00', 'rejected', '2026-11-29 12:23:25.622473+00', 400, NULL, 'content_refused', 'refused', 2, NULL, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.613841+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-9909-73ee-9ce8-fd82ebda679c', '01a22742-98cc-7736-9c9b-4ca7724c55af', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.705563+00', '2026-11-29 12:23:45.720351+00', 'accepted', '2026-11-29 12:23:25.730046+00', 200, 'sim-expired', NULL, NULL, 2, 2, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.720352+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-99bf-70f0-925b-e65012f54fed', '01a22742-9946-7254-9079-f52c0cf0b6ed', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:25.889649+00', '2026-11-29 12:23:45.908713+00', 'unknown', '2026-11-29 12:23:25.945865+00', NULL, NULL, 'answer_lost', 'the connection ended', 2, NULL, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:25.908716+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-9a7a-7714-bc79-cb070ff86526', '01a22742-9a34-7042-b486-af33209f4a5d', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:26.074886+00', '2026-11-29 12:23:46.117646+00', 'unknown', '2026-11-29 12:23:26.149642+00', NULL, NULL, 'answer_lost', 'the connection ended', 0.035, NULL, 'USD', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:26.117649+00', false, '2708293032ad0656', false, false),
	('01a22742-9b65-7327-86f8-2e8503d3960a', '01a22742-9afc-766c-bbbe-421c502008f0', 1, 'openrouter', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:26.309342+00', '2026-11-29 12:23:46.350722+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'USD', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:26.350722+00', false, 'c3e812b871e357e2', false, false),
	('01a22742-9c44-76f0-a057-0bff821a28fc', '01a22742-9bdd-7530-8849-22c7f2e30c4a', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:26.53294+00', '2026-11-29 12:23:46.587209+00', NULL, NULL, NULL, NULL, NULL, NULL, 2, NULL, 'credit', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:26.587211+00', false, 'eb467f7c696b9676', false, false),
	('01a22742-9d71-777c-bf25-3cf52fd504b1', '01a22742-9cf4-75c0-a89d-25a7d7ed928f', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-29 12:23:26.833937+00', '2026-11-29 12:23:46.88821+00', 'rejected', '2026-11-29 12:23:26.916749+00', 429, NULL, 'rate_limited', 'slower', 0.035, NULL, 'USD', '01a22742-96e2-7325-8988-be4a9e7b9384', '2026-11-29 12:24:26.888213+00', false, '2708293032ad0656', false, false),
	('01a22742-90a0-7495-afd7-c19b506e5528', '01a22742-903e-7646-886d-6882f5fadb11', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:23.553297+00', '2026-11-27 12:23:43.614291+00', 'accepted', '2026-11-29 12:23:23.661871+00', 200, 'real-pending', NULL, NULL, 2, 2, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:23.614292+00', false, '635578f406937dc5', false, false),
	('01a22742-9193-76bf-a66d-f183dac2c3c7', '01a22742-9162-72f4-a34e-13bedcadf8b2', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:23.795561+00', '2026-11-27 12:23:43.837534+00', 'accepted', '2026-11-29 12:23:23.862022+00', 200, 'real-processing', NULL, NULL, 2, 2, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:23.837534+00', false, '635578f406937dc5', false, false),
	('01a22742-9428-75fd-ba5c-48b854787dd6', '01a22742-93e9-70ea-9f9a-8fa3674f25af', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.456872+00', '2026-11-27 12:23:44.489075+00', 'rejected', '2026-11-29 12:23:24.511761+00', 400, NULL, 'content_refused', 'refused', 2, NULL, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.489075+00', false, '635578f406937dc5', false, false),
	('01a22742-94e8-75cf-8bf3-dd61b0c11522', '01a22742-94ae-76e0-8652-ef97b3ba980a', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.649556+00', '2026-11-27 12:23:44.684552+00', 'accepted', '2026-11-29 12:23:24.703974+00', 200, 'real-expired', NULL, NULL, 2, 2, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.684552+00', false, '635578f406937dc5', false, false),
	('01a22742-9581-72a4-be18-db57c4b20be6', '01a22742-9559-7561-be04-1029a5b1158b', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.802301+00', '2026-11-27 12:23:44.821415+00', 'unknown', '2026-11-29 12:23:24.836152+00', NULL, NULL, 'answer_lost', 'the connection ended', 2, NULL, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.821416+00', false, '635578f406937dc5', false, false),
	('01a22742-9678-735d-a216-747bc686efa2', '01a22742-9661-73dd-ae4f-92cddbe56a0b', 1, 'bloom', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:25.048472+00', '2026-11-27 12:23:45.064564+00', NULL, NULL, NULL, NULL, NULL, NULL, 2, NULL, 'credit', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:25.064565+00', false, '635578f406937dc5', false, false),
	('01a22742-9242-77c3-8f9f-f187db75d8db', '01a22742-9211-71b3-9f57-2b4ad9f1c13f', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:23.972162+00', '2026-11-27 12:23:44.005857+00', 'accepted', '2026-11-29 12:23:24.028473+00', 200, 'real-transferring', NULL, NULL, 0.035, 0.035, 'USD', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.005858+00', false, '42db3957646af053', false, false),
	('01a22742-92ff-7728-a5a2-837710b21e13', '01a22742-92ab-700c-90e9-063526b45c42', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.160207+00', '2026-11-27 12:23:44.220771+00', 'accepted', '2026-11-29 12:23:24.293336+00', 200, 'real-succeeded', NULL, NULL, 0.035, 0.035, 'USD', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.220772+00', false, '42db3957646af053', false, false),
	('01a22742-95e8-7021-8dde-701c4a11cad7', '01a22742-95c0-7153-8730-5fef030d28ad', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.90462+00', '2026-11-27 12:23:44.927696+00', 'unknown', '2026-11-29 12:23:24.950524+00', NULL, NULL, 'answer_lost', 'the connection ended', 0.035, NULL, 'USD', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:24.927697+00', false, '42db3957646af053', false, false);
INSERT INTO public.submission VALUES
	('01a22742-96c4-73d3-9f1c-e81277fff16e', '01a22742-96a4-7466-816e-df07ccf0410c', 1, 'getimg', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:25.124708+00', '2026-11-27 12:23:45.130943+00', 'rejected', '2026-11-29 12:23:25.142125+00', 429, NULL, 'rate_limited', 'slower', 0.035, NULL, 'USD', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:25.130943+00', false, '42db3957646af053', false, false),
	('01a22742-9640-70f0-863d-67e2eac32064', '01a22742-9626-7330-aeda-14953c2809a0', 1, 'openrouter', 'a-worker-of-0418c0e', 4711, '2026-11-27 12:23:24.992524+00', '2026-11-27 12:23:45.007129+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'USD', '01a22742-9031-774c-8cf7-8603e90b53a6', '2026-11-27 12:24:25.007129+00', false, 'a566cd8a93ecb553', false, false);
SELECT pg_catalog.setval('public.balance_reading_id_seq', 1, false);
SELECT pg_catalog.setval('public.job_event_id_seq', 50, true);
SELECT pg_catalog.setval('public.ledger_id_seq', 40, true);
SELECT pg_catalog.setval('public.request_slot_id_seq', 22, true);
SELECT pg_catalog.setval('public.usage_reading_id_seq', 1, false);
ALTER TABLE public.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (name);
ALTER TABLE public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE public.balance_reading
    ADD CONSTRAINT balance_reading_pkey PRIMARY KEY (id);
ALTER TABLE public.batch
    ADD CONSTRAINT batch_name_key UNIQUE (name);
ALTER TABLE public.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (id);
ALTER TABLE public.image
    ADD CONSTRAINT image_account_upstream_id_key UNIQUE (account, upstream_id);
ALTER TABLE public.image
    ADD CONSTRAINT image_pkey PRIMARY KEY (job_id, index);
ALTER TABLE public.job
    ADD CONSTRAINT job_batch_id_custom_id_key UNIQUE (batch_id, custom_id);
ALTER TABLE public.job_event
    ADD CONSTRAINT job_event_pkey PRIMARY KEY (id);
ALTER TABLE public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);
ALTER TABLE public.ledger
    ADD CONSTRAINT ledger_pkey PRIMARY KEY (id);
ALTER TABLE public.ledger_sum
    ADD CONSTRAINT ledger_sum_pkey PRIMARY KEY (account);
ALTER TABLE public.request_slot
    ADD CONSTRAINT request_slot_pkey PRIMARY KEY (id);
ALTER TABLE public.stray
    ADD CONSTRAINT stray_pkey PRIMARY KEY (account, upstream_id);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_account_upstream_id_key UNIQUE (account, upstream_id);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_job_id_epoch_key UNIQUE (job_id, epoch);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_pkey PRIMARY KEY (id);
ALTER TABLE public.usage_reading
    ADD CONSTRAINT usage_reading_pkey PRIMARY KEY (id);
ALTER TABLE public.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (name);
CREATE INDEX balance_reading_account ON public.balance_reading USING btree (account, id);
CREATE INDEX job_batch_state ON public.job USING btree (batch_id, state);
CREATE INDEX job_claimed ON public.job USING btree (account, state) WHERE (claimed_by IS NOT NULL);
CREATE INDEX job_deadline ON public.job USING btree (deadline_at) WHERE (state = 'queued'::text);
CREATE INDEX job_dispatch ON public.job USING btree (account, priority DESC, turn) WHERE ((state = 'queued'::text) AND (NOT parked));
CREATE INDEX job_event_job ON public.job_event USING btree (job_id, id);
CREATE INDEX job_parked ON public.job USING btree (account, batch_id) WHERE parked;
CREATE INDEX job_poll ON public.job USING btree (account, due_at) WHERE (state = ANY (ARRAY['pending'::text, 'processing'::text]));
CREATE INDEX job_reconcile ON public.job USING btree (account, due_at) WHERE (state = ANY (ARRAY['submitting'::text, 'in_doubt'::text]));
CREATE INDEX job_transfer ON public.job USING btree (account, link_expires_at, due_at) WHERE (state = 'transferring'::text);
CREATE INDEX ledger_account ON public.ledger USING btree (account, at) INCLUDE (reserved, settled, held);
CREATE INDEX ledger_job ON public.ledger USING btree (job_id);
CREATE INDEX ledger_submission ON public.ledger USING btree (submission_id);
CREATE INDEX request_slot_window ON public.request_slot USING btree (account, taken_at);
CREATE INDEX submission_batch ON public.submission USING btree (batch_id, account) INCLUDE (outcome, reserved, settled);
CREATE INDEX submission_day ON public.submission USING btree (account, opened_at) INCLUDE (outcome, reserved, settled);
CREATE UNIQUE INDEX submission_one_open ON public.submission USING btree (job_id) WHERE (outcome IS NULL);
CREATE INDEX submission_undecided ON public.submission USING btree (account) WHERE ((outcome IS NULL) OR (outcome = 'unknown'::text));
CREATE INDEX usage_reading_key ON public.usage_reading USING btree (account, key_id, at);
ALTER TABLE public.balance_reading
    ADD CONSTRAINT balance_reading_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.image
    ADD CONSTRAINT image_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.image
    ADD CONSTRAINT image_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE public.image
    ADD CONSTRAINT image_submission_id_fkey FOREIGN KEY (submission_id) REFERENCES public.submission(id);
ALTER TABLE public.job
    ADD CONSTRAINT job_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.job
    ADD CONSTRAINT job_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batch(id);
ALTER TABLE public.job_event
    ADD CONSTRAINT job_event_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE public.ledger
    ADD CONSTRAINT ledger_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.ledger
    ADD CONSTRAINT ledger_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE public.ledger
    ADD CONSTRAINT ledger_submission_id_fkey FOREIGN KEY (submission_id) REFERENCES public.submission(id);
ALTER TABLE public.ledger_sum
    ADD CONSTRAINT ledger_sum_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.request_slot
    ADD CONSTRAINT request_slot_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.stray
    ADD CONSTRAINT stray_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batch(id);
ALTER TABLE public.submission
    ADD CONSTRAINT submission_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE public.usage_reading
    ADD CONSTRAINT usage_reading_account_fkey FOREIGN KEY (account) REFERENCES public.account(name);
