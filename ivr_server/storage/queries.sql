-- All SQL of this package. `-- name --`, then one line saying what it is for, then the statement.
-- Upserts bind the fields of the fact of the same name in their order (tests/storage proves it).

-- upsert_call --
-- Write the whole row of a call as it is known now.
INSERT INTO calls (
    call_id, started_at, answered_at, ended_at, end_reason, dialled, caller_number, caller_name,
    language, flow, flow_version, takeovers, error
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (call_id) DO UPDATE SET
    started_at = EXCLUDED.started_at,
    answered_at = EXCLUDED.answered_at,
    ended_at = EXCLUDED.ended_at,
    end_reason = EXCLUDED.end_reason,
    dialled = EXCLUDED.dialled,
    caller_number = EXCLUDED.caller_number,
    caller_name = EXCLUDED.caller_name,
    language = EXCLUDED.language,
    flow = EXCLUDED.flow,
    flow_version = EXCLUDED.flow_version,
    takeovers = EXCLUDED.takeovers,
    error = EXCLUDED.error;

-- upsert_leg --
-- Write the whole row of a leg as it is known now.
INSERT INTO legs (
    leg_id, call_id, kind, endpoint, agent, number, started_at, answered_at, ended_at, end_reason,
    cause
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (leg_id) DO UPDATE SET
    call_id = EXCLUDED.call_id,
    kind = EXCLUDED.kind,
    endpoint = EXCLUDED.endpoint,
    agent = EXCLUDED.agent,
    number = EXCLUDED.number,
    started_at = EXCLUDED.started_at,
    answered_at = EXCLUDED.answered_at,
    ended_at = EXCLUDED.ended_at,
    end_reason = EXCLUDED.end_reason,
    cause = EXCLUDED.cause;

-- upsert_visit --
-- Write the whole row of a stay in a queue as it is known now.
INSERT INTO visits (
    visit_id, call_id, queue, priority, enqueued_at, place_at_entry, answered_at, released_at,
    ended_at, end_reason, agent, exit_key
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (visit_id) DO UPDATE SET
    call_id = EXCLUDED.call_id,
    queue = EXCLUDED.queue,
    priority = EXCLUDED.priority,
    enqueued_at = EXCLUDED.enqueued_at,
    place_at_entry = EXCLUDED.place_at_entry,
    answered_at = EXCLUDED.answered_at,
    released_at = EXCLUDED.released_at,
    ended_at = EXCLUDED.ended_at,
    end_reason = EXCLUDED.end_reason,
    agent = EXCLUDED.agent,
    exit_key = EXCLUDED.exit_key;

-- upsert_offer --
-- Write the whole row of one ringing of an agent as it is known now.
INSERT INTO offers (
    offer_id, visit_id, call_id, queue, agent, leg_id, offered_at, ended_at, end_reason
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (offer_id) DO UPDATE SET
    visit_id = EXCLUDED.visit_id,
    call_id = EXCLUDED.call_id,
    queue = EXCLUDED.queue,
    agent = EXCLUDED.agent,
    leg_id = EXCLUDED.leg_id,
    offered_at = EXCLUDED.offered_at,
    ended_at = EXCLUDED.ended_at,
    end_reason = EXCLUDED.end_reason;

-- upsert_promise --
-- Write one spoken estimate.
INSERT INTO promises (
    promise_id, visit_id, call_id, queue, spoken_at, place, waited_s, estimate_s, spoken_s, text,
    model
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (promise_id) DO UPDATE SET
    visit_id = EXCLUDED.visit_id,
    call_id = EXCLUDED.call_id,
    queue = EXCLUDED.queue,
    spoken_at = EXCLUDED.spoken_at,
    place = EXCLUDED.place,
    waited_s = EXCLUDED.waited_s,
    estimate_s = EXCLUDED.estimate_s,
    spoken_s = EXCLUDED.spoken_s,
    text = EXCLUDED.text,
    model = EXCLUDED.model;

-- upsert_step --
-- Write one node a call went through as it is known now.
INSERT INTO flow_steps (
    call_id, number, flow, flow_version, node, node_type, entered_at, left_at, outcome, detail
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (call_id, number) DO UPDATE SET
    flow = EXCLUDED.flow,
    flow_version = EXCLUDED.flow_version,
    node = EXCLUDED.node,
    node_type = EXCLUDED.node_type,
    entered_at = EXCLUDED.entered_at,
    left_at = EXCLUDED.left_at,
    outcome = EXCLUDED.outcome,
    detail = EXCLUDED.detail;

-- upsert_recording --
-- Write the row of one audio file as it is known now.
INSERT INTO recordings (
    recording_id, call_id, leg_id, kind, state, path, started_at, offset_s, duration_s, bytes,
    sha256, detail
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (recording_id) DO UPDATE SET
    call_id = EXCLUDED.call_id,
    leg_id = EXCLUDED.leg_id,
    kind = EXCLUDED.kind,
    state = EXCLUDED.state,
    path = EXCLUDED.path,
    started_at = EXCLUDED.started_at,
    offset_s = EXCLUDED.offset_s,
    duration_s = EXCLUDED.duration_s,
    bytes = EXCLUDED.bytes,
    sha256 = EXCLUDED.sha256,
    detail = EXCLUDED.detail;

-- calls_since --
-- Read the calls that began at or after a moment, oldest first.
SELECT * FROM cdr WHERE started_at >= $1 ORDER BY started_at, call_id;

-- recordings_of --
-- Read the recordings of some calls, legs in order of their audio, the mix last.
SELECT
    recording_id, call_id, leg_id, kind, state, path, started_at, offset_s, duration_s, bytes,
    sha256, detail
FROM recordings
WHERE call_id = ANY($1::text[])
ORDER BY call_id, kind = 'mix', offset_s, recording_id;

-- problems --
-- Read what does not add up, newest first.
SELECT problem, call_id, item_id, noticed_at, detail
FROM reconcile_problems
ORDER BY noticed_at DESC NULLS LAST, call_id, problem, item_id;

-- recordings_filed --
-- Read which file each recording is said to be in.
SELECT recording_id, call_id, state, path, bytes, sha256, started_at
FROM recordings
WHERE path <> '';
