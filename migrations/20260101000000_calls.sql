-- migrate:up

-- Rows are written by the service from its journal (ivr_server/facts.py has one dataclass per
-- table). There are deliberately no foreign keys: a row that Postgres refuses must not take down
-- the others of its call, and rows arrive in the order things happened, possibly twice. What does
-- not fit together is listed by the view reconcile_problems.

CREATE TABLE calls (
    call_id text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    answered_at timestamptz,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN (
        'caller_hung_up', 'abandoned', 'completed_by_caller', 'completed_by_agent', 'flow_ended',
        'failed', 'lost'
    )),
    dialled text NOT NULL,
    caller_number text NOT NULL,
    caller_name text NOT NULL,
    language text NOT NULL,
    flow text NOT NULL,
    flow_version text NOT NULL,
    takeovers integer NOT NULL,
    error text NOT NULL
);
CREATE INDEX calls_started_at ON calls (started_at);
CREATE INDEX calls_open ON calls (started_at) WHERE ended_at IS NULL;
-- Hash indexes: what a telephone sends as its number may be longer than a B-tree takes.
CREATE INDEX calls_caller_number ON calls USING hash (caller_number);
CREATE INDEX calls_dialled ON calls USING hash (dialled);

CREATE TABLE legs (
    leg_id text PRIMARY KEY,
    call_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('caller', 'agent', 'outside')),
    endpoint text NOT NULL,
    agent text,
    number text NOT NULL,
    started_at timestamptz NOT NULL,
    answered_at timestamptz,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN (
        'hung_up', 'no_answer', 'busy', 'rejected', 'unreachable', 'cancelled', 'lost'
    )),
    cause integer
);
CREATE INDEX legs_call_id ON legs (call_id);
CREATE INDEX legs_agent_started_at ON legs (agent, started_at) WHERE agent IS NOT NULL;

CREATE TABLE visits (
    visit_id text PRIMARY KEY,
    call_id text NOT NULL,
    queue text NOT NULL,
    priority integer NOT NULL,
    enqueued_at timestamptz NOT NULL,
    place_at_entry integer NOT NULL,
    answered_at timestamptz,
    released_at timestamptz,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN (
        'answered', 'abandoned', 'exit_key', 'timeout', 'full', 'no_agents', 'failed', 'lost'
    )),
    agent text,
    exit_key text
);
CREATE INDEX visits_call_id ON visits (call_id);
CREATE INDEX visits_queue_enqueued_at ON visits (queue, enqueued_at);
CREATE INDEX visits_agent_answered_at ON visits (agent, answered_at) WHERE agent IS NOT NULL;

CREATE TABLE offers (
    offer_id text PRIMARY KEY,
    visit_id text NOT NULL,
    call_id text NOT NULL,
    queue text NOT NULL,
    agent text NOT NULL,
    leg_id text NOT NULL,
    offered_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN (
        'answered', 'not_connected', 'no_answer', 'busy', 'rejected', 'unreachable', 'caller_gone',
        'cancelled'
    ))
);
CREATE INDEX offers_visit_id ON offers (visit_id);
CREATE INDEX offers_call_id ON offers (call_id);
CREATE INDEX offers_agent_offered_at ON offers (agent, offered_at);

CREATE TABLE promises (
    promise_id text PRIMARY KEY,
    visit_id text NOT NULL,
    call_id text NOT NULL,
    queue text NOT NULL,
    spoken_at timestamptz NOT NULL,
    place integer NOT NULL,
    waited_s double precision NOT NULL,
    estimate_s double precision,
    spoken_s integer,
    text text NOT NULL,
    model text NOT NULL
);
CREATE INDEX promises_visit_id ON promises (visit_id);
CREATE INDEX promises_queue_spoken_at ON promises (queue, spoken_at);

CREATE TABLE flow_steps (
    call_id text NOT NULL,
    number integer NOT NULL,
    flow text NOT NULL,
    flow_version text NOT NULL,
    node text NOT NULL,
    node_type text NOT NULL,
    entered_at timestamptz NOT NULL,
    left_at timestamptz,
    outcome text,
    detail jsonb NOT NULL,
    PRIMARY KEY (call_id, number)
);
CREATE INDEX flow_steps_flow_node ON flow_steps (flow, node, entered_at);

CREATE TABLE recordings (
    recording_id text PRIMARY KEY,
    call_id text NOT NULL,
    leg_id text,
    kind text NOT NULL CHECK (kind IN ('leg', 'mix')),
    state text NOT NULL CHECK (state IN ('recording', 'ok', 'short', 'empty', 'missing', 'unreadable')),
    path text NOT NULL,
    started_at timestamptz NOT NULL,
    offset_s double precision NOT NULL,
    duration_s double precision,
    bytes bigint,
    sha256 text,
    detail text NOT NULL
);
CREATE INDEX recordings_call_id ON recordings (call_id);
CREATE INDEX recordings_started_at ON recordings (started_at);
CREATE INDEX recordings_bad ON recordings (started_at) WHERE state NOT IN ('recording', 'ok', 'empty');

COMMENT ON TABLE calls IS 'One row per call: from the arrival of a caller to the end of the last leg.';
COMMENT ON COLUMN calls.call_id IS 'Our name for the call; also the name of its folder of recordings.';
COMMENT ON COLUMN calls.started_at IS 'When the call came in.';
COMMENT ON COLUMN calls.answered_at IS 'When we answered; the caller pays from here. Empty: never answered.';
COMMENT ON COLUMN calls.ended_at IS 'When the call was over. Empty: it is going on.';
COMMENT ON COLUMN calls.end_reason IS 'Why it ended: caller_hung_up (in the menu), abandoned (in a queue), completed_by_caller and completed_by_agent (after talking), flow_ended, failed (our error), lost (gone while we were down).';
COMMENT ON COLUMN calls.dialled IS 'The number the caller dialled.';
COMMENT ON COLUMN calls.caller_number IS 'The number of the caller as the network gave it; not proven.';
COMMENT ON COLUMN calls.caller_name IS 'The name the network gave with it; anybody can put anything here.';
COMMENT ON COLUMN calls.language IS 'The language the caller heard last: ru, uk, ro, zh, fa, en.';
COMMENT ON COLUMN calls.flow IS 'The flow (voice menu) that served the call.';
COMMENT ON COLUMN calls.flow_version IS 'The content hash of that flow when the call came in.';
COMMENT ON COLUMN calls.takeovers IS 'How often a restarted service picked the call up.';
COMMENT ON COLUMN calls.error IS 'Our error in one sentence; empty when there was none.';

COMMENT ON TABLE legs IS 'One row per channel of a call: the caller, each agent rung, each outside number.';
COMMENT ON COLUMN legs.leg_id IS 'The id of the channel in Asterisk.';
COMMENT ON COLUMN legs.call_id IS 'The call it belongs to.';
COMMENT ON COLUMN legs.kind IS 'caller, agent or outside.';
COMMENT ON COLUMN legs.endpoint IS 'The name of the channel in Asterisk, such as PJSIP/anna-00000003.';
COMMENT ON COLUMN legs.agent IS 'The agent at this end, if it is one.';
COMMENT ON COLUMN legs.number IS 'The number at this end, if known.';
COMMENT ON COLUMN legs.started_at IS 'When the channel came up or began to ring.';
COMMENT ON COLUMN legs.answered_at IS 'When this end answered. Empty: it never did.';
COMMENT ON COLUMN legs.ended_at IS 'When this end was gone. Empty: it is still there.';
COMMENT ON COLUMN legs.end_reason IS 'Why it ended: hung_up, no_answer, busy, rejected, unreachable, cancelled (we stopped ringing), lost.';
COMMENT ON COLUMN legs.cause IS 'The Q.850 cause Asterisk gave: 16 normal, 17 busy, 19 no answer, 21 rejected.';

COMMENT ON TABLE visits IS 'One row per stay of a call in a queue.';
COMMENT ON COLUMN visits.visit_id IS 'Our name for the stay.';
COMMENT ON COLUMN visits.call_id IS 'The call that waited.';
COMMENT ON COLUMN visits.queue IS 'The queue.';
COMMENT ON COLUMN visits.priority IS 'Higher is served first.';
COMMENT ON COLUMN visits.enqueued_at IS 'When the wait began.';
COMMENT ON COLUMN visits.place_at_entry IS 'The place in the queue then; 1 is next.';
COMMENT ON COLUMN visits.answered_at IS 'When an agent answered. Empty: none did.';
COMMENT ON COLUMN visits.released_at IS 'When the talk with that agent was over.';
COMMENT ON COLUMN visits.ended_at IS 'When the caller left the queue, for an agent or otherwise. Empty: waiting.';
COMMENT ON COLUMN visits.end_reason IS 'How the wait ended: answered, abandoned (hung up), exit_key, timeout, full, no_agents, failed (our error), lost.';
COMMENT ON COLUMN visits.agent IS 'The agent who answered.';
COMMENT ON COLUMN visits.exit_key IS 'The key the caller left the queue with.';

COMMENT ON TABLE offers IS 'One row per ringing of one agent for one stay in a queue.';
COMMENT ON COLUMN offers.offer_id IS 'Our name for the ringing.';
COMMENT ON COLUMN offers.visit_id IS 'The stay in a queue it was for.';
COMMENT ON COLUMN offers.call_id IS 'The call it was for.';
COMMENT ON COLUMN offers.queue IS 'The queue it came from.';
COMMENT ON COLUMN offers.agent IS 'The agent whose phone rang.';
COMMENT ON COLUMN offers.leg_id IS 'The leg that rang.';
COMMENT ON COLUMN offers.offered_at IS 'When it began to ring.';
COMMENT ON COLUMN offers.ended_at IS 'When it stopped ringing. Empty: it rings.';
COMMENT ON COLUMN offers.end_reason IS 'How it ended: answered, not_connected (answered, but one of the two was gone before they were connected), no_answer, busy, rejected, unreachable, caller_gone (the caller left first), cancelled (the service restarted or stopped).';

COMMENT ON TABLE promises IS 'One row per place or wait we told a caller; compare with the view promise_outcomes.';
COMMENT ON COLUMN promises.promise_id IS 'Our name for the promise.';
COMMENT ON COLUMN promises.visit_id IS 'The stay in a queue it was made in.';
COMMENT ON COLUMN promises.call_id IS 'The call that heard it.';
COMMENT ON COLUMN promises.queue IS 'The queue.';
COMMENT ON COLUMN promises.spoken_at IS 'When it was spoken.';
COMMENT ON COLUMN promises.place IS 'The place in the queue at that moment; 1 is next.';
COMMENT ON COLUMN promises.waited_s IS 'Seconds the caller had waited by then.';
COMMENT ON COLUMN promises.estimate_s IS 'Seconds still to wait by the model. Empty: only the place was spoken.';
COMMENT ON COLUMN promises.spoken_s IS 'The most seconds still to wait that the caller heard. Empty: only the place was spoken.';
COMMENT ON COLUMN promises.text IS 'What was said.';
COMMENT ON COLUMN promises.model IS 'Which model made the estimate.';

COMMENT ON TABLE flow_steps IS 'One row per node of the flow a call went through.';
COMMENT ON COLUMN flow_steps.call_id IS 'The call.';
COMMENT ON COLUMN flow_steps.number IS '1, 2, 3 and so on within the call.';
COMMENT ON COLUMN flow_steps.flow IS 'The flow of the node.';
COMMENT ON COLUMN flow_steps.flow_version IS 'The content hash of that flow.';
COMMENT ON COLUMN flow_steps.node IS 'The name of the node in the flow.';
COMMENT ON COLUMN flow_steps.node_type IS 'What kind of node it is: play, menu, queue and so on.';
COMMENT ON COLUMN flow_steps.entered_at IS 'When the call came to the node.';
COMMENT ON COLUMN flow_steps.left_at IS 'When it went on. Empty: it is there, or the caller hung up there.';
COMMENT ON COLUMN flow_steps.outcome IS 'How the node ended, such as the key pressed in a menu.';
COMMENT ON COLUMN flow_steps.detail IS 'What else the node noted.';

COMMENT ON TABLE recordings IS 'One row per audio file: one of each leg, and the stereo mix made of them.';
COMMENT ON COLUMN recordings.recording_id IS 'Our name for the recording.';
COMMENT ON COLUMN recordings.call_id IS 'The call.';
COMMENT ON COLUMN recordings.leg_id IS 'The leg that was recorded. Empty: the mix.';
COMMENT ON COLUMN recordings.kind IS 'leg or mix.';
COMMENT ON COLUMN recordings.state IS 'recording (going on), ok, short (less audio than the leg lasted), empty (the leg was over before any audio came), missing, unreadable.';
COMMENT ON COLUMN recordings.path IS 'The file, below the folder of recordings.';
COMMENT ON COLUMN recordings.started_at IS 'When the audio begins.';
COMMENT ON COLUMN recordings.offset_s IS 'Seconds from the start of the first recording of the call to the start of this one.';
COMMENT ON COLUMN recordings.duration_s IS 'Seconds of audio.';
COMMENT ON COLUMN recordings.bytes IS 'Size of the file.';
COMMENT ON COLUMN recordings.sha256 IS 'SHA-256 of the file: proves it is the same file later.';
COMMENT ON COLUMN recordings.detail IS 'Why it is not ok; for a mix who is on which channel.';

-- migrate:down

DROP TABLE recordings, flow_steps, promises, offers, visits, legs, calls;
