-- migrate:up

CREATE VIEW cdr AS
SELECT
    calls.call_id,
    calls.started_at,
    calls.answered_at,
    calls.ended_at,
    calls.caller_number,
    calls.caller_name,
    calls.dialled,
    calls.flow,
    calls.flow_version,
    calls.language,
    coalesce(steps.path, '') AS path,
    visit.queue,
    visit.place_at_entry,
    waits.wait_s,
    visit.end_reason AS queue_outcome,
    coalesce(rings.ring_attempts, 0)::integer AS ring_attempts,
    coalesce(partner.agent, partner.number) AS agent,
    CASE WHEN waits.talk_s IS NOT NULL OR dialled.talk_s IS NOT NULL THEN
        coalesce(waits.talk_s, 0) + coalesce(dialled.talk_s, 0)
    END AS talk_s,
    calls.end_reason,
    round(extract(epoch FROM calls.ended_at - calls.started_at), 1)::double precision AS total_s,
    CASE WHEN calls.ended_at IS NOT NULL THEN
        coalesce(round(extract(epoch FROM calls.ended_at - calls.answered_at), 1), 0)
    END::double precision AS billable_s,
    coalesce(files.recordings, 0)::integer AS recordings,
    coalesce(files.bad_recordings, 0)::integer AS bad_recordings,
    files.mix_path,
    calls.takeovers,
    calls.error
FROM calls
LEFT JOIN LATERAL (
    SELECT string_agg(
        node || CASE
            WHEN node_type IN ('menu', 'branch', 'dial') AND outcome NOT IN ('caller_gone', 'taken_over') THEN '(' || outcome || ')' ELSE ''
        END,
        ' > ' ORDER BY number
    ) AS path
    FROM flow_steps
    WHERE flow_steps.call_id = calls.call_id
) AS steps ON true
LEFT JOIN LATERAL (
    -- The stay that counts: the last that was answered, else the last.
    SELECT queue, place_at_entry, end_reason
    FROM visits
    WHERE visits.call_id = calls.call_id
    ORDER BY answered_at IS NOT NULL DESC, enqueued_at DESC, visit_id DESC
    LIMIT 1
) AS visit ON true
LEFT JOIN LATERAL (
    SELECT
        CASE WHEN bool_and(visits.ended_at IS NOT NULL) THEN
            round(sum(extract(epoch FROM coalesce(answered_at, visits.ended_at) - enqueued_at)), 1)
        END::double precision AS wait_s,
        round(sum(extract(epoch FROM coalesce(released_at, calls.ended_at) - answered_at)), 1)
            ::double precision AS talk_s
    FROM visits
    WHERE visits.call_id = calls.call_id
) AS waits ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS ring_attempts FROM offers WHERE offers.call_id = calls.call_id
) AS rings ON true
LEFT JOIN LATERAL (
    -- Destinations dialled by the flow: legs that rang for no queue.
    SELECT
        round(sum(extract(epoch FROM coalesce(legs.ended_at, calls.ended_at) - legs.answered_at)), 1)
            ::double precision AS talk_s
    FROM legs
    WHERE legs.call_id = calls.call_id AND legs.kind <> 'caller'
        AND NOT EXISTS (SELECT FROM offers WHERE offers.leg_id = legs.leg_id)
) AS dialled ON true
LEFT JOIN LATERAL (
    SELECT agent, nullif(number, '') AS number
    FROM legs
    WHERE legs.call_id = calls.call_id AND legs.kind <> 'caller' AND legs.answered_at IS NOT NULL
        -- Not an agent who picked up and was never connected.
        AND NOT EXISTS (
            SELECT FROM offers
            WHERE offers.leg_id = legs.leg_id AND offers.end_reason IS DISTINCT FROM 'answered'
        )
    ORDER BY answered_at DESC
    LIMIT 1
) AS partner ON true
LEFT JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE kind = 'leg') AS recordings,
        count(*) FILTER (WHERE kind = 'leg' AND state NOT IN ('recording', 'ok', 'empty'))
            AS bad_recordings,
        max(path) FILTER (WHERE kind = 'mix' AND state = 'ok') AS mix_path
    FROM recordings
    WHERE recordings.call_id = calls.call_id
) AS files ON true;

COMMENT ON VIEW cdr IS 'One row per call, readable without a manual.';
COMMENT ON COLUMN cdr.call_id IS 'Our name for the call; also the name of its folder of recordings.';
COMMENT ON COLUMN cdr.started_at IS 'When the call came in.';
COMMENT ON COLUMN cdr.answered_at IS 'When we answered it. Empty: never.';
COMMENT ON COLUMN cdr.ended_at IS 'When it was over. Empty: it is going on.';
COMMENT ON COLUMN cdr.caller_number IS 'Who called, as the network gave it.';
COMMENT ON COLUMN cdr.caller_name IS 'The name the network gave with it.';
COMMENT ON COLUMN cdr.dialled IS 'The number that was called.';
COMMENT ON COLUMN cdr.flow IS 'The flow (voice menu) that served the call.';
COMMENT ON COLUMN cdr.flow_version IS 'The content hash of that flow.';
COMMENT ON COLUMN cdr.language IS 'The language the caller heard last.';
COMMENT ON COLUMN cdr.path IS 'The nodes it went through, with what came out of menus, branches and dials: greet > main(1) > sales.';
COMMENT ON COLUMN cdr.queue IS 'The queue of the last stay that was answered, else of the last stay. Empty: never queued.';
COMMENT ON COLUMN cdr.place_at_entry IS 'The place at which that stay began; 1 is next.';
COMMENT ON COLUMN cdr.wait_s IS 'Seconds waited in all queues together. Empty: never queued, or still waiting.';
COMMENT ON COLUMN cdr.queue_outcome IS 'How that stay ended: answered, abandoned, exit_key, timeout, full, no_agents, failed, lost.';
COMMENT ON COLUMN cdr.ring_attempts IS 'How often an agent was rung for this call.';
COMMENT ON COLUMN cdr.agent IS 'Who talked to the caller last: the agent, else the outside number.';
COMMENT ON COLUMN cdr.talk_s IS 'Seconds the caller talked to agents or to a dialled destination. Empty: to nobody.';
COMMENT ON COLUMN cdr.end_reason IS 'How the call ended, see calls.end_reason.';
COMMENT ON COLUMN cdr.total_s IS 'Seconds from arrival to end.';
COMMENT ON COLUMN cdr.billable_s IS 'Seconds from our answer to the end; 0 when never answered.';
COMMENT ON COLUMN cdr.recordings IS 'How many legs were recorded.';
COMMENT ON COLUMN cdr.bad_recordings IS 'How many of those files are short, missing or unreadable.';
COMMENT ON COLUMN cdr.mix_path IS 'The stereo file of the whole call, below the folder of recordings.';
COMMENT ON COLUMN cdr.takeovers IS 'How often a restarted service picked the call up.';
COMMENT ON COLUMN cdr.error IS 'Our error in one sentence; empty when there was none.';

CREATE VIEW promise_outcomes AS
SELECT
    promises.promise_id,
    promises.call_id,
    promises.visit_id,
    promises.queue,
    promises.model,
    promises.spoken_at,
    promises.place,
    promises.waited_s,
    promises.estimate_s,
    promises.spoken_s,
    promises.text,
    visits.end_reason AS outcome,
    round(extract(epoch FROM visits.answered_at - promises.spoken_at), 1)::double precision
        AS actual_s,
    round(extract(epoch FROM visits.answered_at - promises.spoken_at) - promises.estimate_s::numeric, 1)
        ::double precision AS error_s,
    extract(epoch FROM visits.answered_at - promises.spoken_at) <= promises.spoken_s AS kept,
    CASE WHEN visits.answered_at IS NULL THEN
        round(extract(epoch FROM visits.ended_at - promises.spoken_at), 1)
    END::double precision AS left_after_s
FROM promises
LEFT JOIN visits ON visits.visit_id = promises.visit_id;

COMMENT ON VIEW promise_outcomes IS 'Each spoken estimate beside what then happened.';
COMMENT ON COLUMN promise_outcomes.promise_id IS 'Our name for the promise.';
COMMENT ON COLUMN promise_outcomes.call_id IS 'The call that heard it.';
COMMENT ON COLUMN promise_outcomes.visit_id IS 'The stay in a queue it was made in.';
COMMENT ON COLUMN promise_outcomes.queue IS 'The queue.';
COMMENT ON COLUMN promise_outcomes.model IS 'Which model made the estimate.';
COMMENT ON COLUMN promise_outcomes.spoken_at IS 'When it was spoken.';
COMMENT ON COLUMN promise_outcomes.place IS 'The place in the queue at that moment.';
COMMENT ON COLUMN promise_outcomes.waited_s IS 'Seconds the caller had waited by then.';
COMMENT ON COLUMN promise_outcomes.estimate_s IS 'Seconds still to wait by the model.';
COMMENT ON COLUMN promise_outcomes.spoken_s IS 'The most seconds still to wait that the caller heard.';
COMMENT ON COLUMN promise_outcomes.text IS 'What was said.';
COMMENT ON COLUMN promise_outcomes.outcome IS 'How the stay ended. Empty: the caller waits, or the stay has no row.';
COMMENT ON COLUMN promise_outcomes.actual_s IS 'Seconds it really took from the promise to the answer. Empty: not answered.';
COMMENT ON COLUMN promise_outcomes.error_s IS 'actual_s less estimate_s: above 0 the caller waited longer than estimated.';
COMMENT ON COLUMN promise_outcomes.kept IS 'Whether the answer came within what the caller heard.';
COMMENT ON COLUMN promise_outcomes.left_after_s IS 'Seconds from the promise to leaving without an answer.';

CREATE VIEW reconcile_problems AS
SELECT
    'leg without call' AS problem, legs.call_id, legs.leg_id AS item_id,
    legs.started_at AS noticed_at, legs.endpoint AS detail
FROM legs WHERE NOT EXISTS (SELECT FROM calls WHERE calls.call_id = legs.call_id)
UNION ALL
SELECT 'visit without call', visits.call_id, visits.visit_id, visits.enqueued_at, visits.queue
FROM visits WHERE NOT EXISTS (SELECT FROM calls WHERE calls.call_id = visits.call_id)
UNION ALL
SELECT 'offer without visit', offers.call_id, offers.offer_id, offers.offered_at, offers.agent
FROM offers WHERE NOT EXISTS (SELECT FROM visits WHERE visits.visit_id = offers.visit_id)
UNION ALL
SELECT 'offer without leg', offers.call_id, offers.offer_id, offers.offered_at, offers.agent
FROM offers
WHERE offers.ended_at IS NOT NULL AND offers.end_reason = 'answered'
    AND NOT EXISTS (SELECT FROM legs WHERE legs.leg_id = offers.leg_id)
UNION ALL
SELECT 'promise without visit', promises.call_id, promises.promise_id, promises.spoken_at, promises.text
FROM promises WHERE NOT EXISTS (SELECT FROM visits WHERE visits.visit_id = promises.visit_id)
UNION ALL
SELECT
    'step without call', flow_steps.call_id, flow_steps.call_id || '/' || flow_steps.number,
    flow_steps.entered_at, flow_steps.node
FROM flow_steps WHERE NOT EXISTS (SELECT FROM calls WHERE calls.call_id = flow_steps.call_id)
UNION ALL
SELECT
    'recording without call', recordings.call_id, recordings.recording_id, recordings.started_at,
    recordings.path
FROM recordings WHERE NOT EXISTS (SELECT FROM calls WHERE calls.call_id = recordings.call_id)
UNION ALL
SELECT
    'recording without leg', recordings.call_id, recordings.recording_id, recordings.started_at,
    recordings.path
FROM recordings
WHERE recordings.leg_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM legs WHERE legs.leg_id = recordings.leg_id)
UNION ALL
SELECT
    'recording is ' || recordings.state, recordings.call_id, recordings.recording_id,
    recordings.started_at, recordings.path || CASE
        WHEN recordings.detail <> '' THEN ': ' || recordings.detail ELSE ''
    END
FROM recordings WHERE recordings.state IN ('short', 'missing', 'unreadable')
UNION ALL
-- A file is verified within seconds of the end of its call; a minute is a fault. Mixes wait for
-- each other, so that calls come first.
SELECT
    'recording of an ended call not verified', recordings.call_id, recordings.recording_id,
    calls.ended_at, recordings.path
FROM recordings JOIN calls USING (call_id)
WHERE recordings.state = 'recording'
    AND calls.ended_at < now() - CASE recordings.kind WHEN 'mix' THEN interval '1 hour' ELSE interval '1 minute' END
UNION ALL
SELECT
    'recording without length or hash', recordings.call_id, recordings.recording_id,
    recordings.started_at, recordings.path
FROM recordings
WHERE recordings.state IN ('ok', 'short')
    AND (recordings.duration_s IS NULL OR recordings.bytes IS NULL OR recordings.sha256 IS NULL)
UNION ALL
SELECT 'leg of an ended call not ended', legs.call_id, legs.leg_id, calls.ended_at, legs.endpoint
FROM legs JOIN calls USING (call_id)
WHERE legs.ended_at IS NULL AND calls.ended_at IS NOT NULL
UNION ALL
SELECT 'visit of an ended call not ended', visits.call_id, visits.visit_id, calls.ended_at, visits.queue
FROM visits JOIN calls USING (call_id)
WHERE visits.ended_at IS NULL AND calls.ended_at IS NOT NULL
UNION ALL
SELECT 'offer of an ended call not ended', offers.call_id, offers.offer_id, calls.ended_at, offers.agent
FROM offers JOIN calls USING (call_id)
WHERE offers.ended_at IS NULL AND calls.ended_at IS NOT NULL
UNION ALL
SELECT
    'talk of an ended call not released', visits.call_id, visits.visit_id, calls.ended_at,
    visits.agent
FROM visits JOIN calls USING (call_id)
WHERE visits.answered_at IS NOT NULL AND visits.released_at IS NULL AND calls.ended_at IS NOT NULL
UNION ALL
SELECT 'ended call without caller leg', calls.call_id, calls.call_id, calls.ended_at, calls.dialled
FROM calls
WHERE calls.ended_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM legs WHERE legs.call_id = calls.call_id AND legs.kind = 'caller')
UNION ALL
SELECT 'call never ended', calls.call_id, calls.call_id, calls.started_at, calls.dialled
FROM calls WHERE calls.ended_at IS NULL AND calls.started_at < now() - interval '12 hours'
UNION ALL
SELECT
    'visit answered without answered offer', visits.call_id, visits.visit_id, visits.answered_at,
    visits.queue || ', ' || coalesce(visits.agent, 'no agent')
FROM visits
WHERE visits.answered_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM offers
    WHERE offers.visit_id = visits.visit_id AND offers.end_reason = 'answered'
        AND offers.agent IS NOT DISTINCT FROM visits.agent
)
UNION ALL
SELECT
    'offer answered but visit not', offers.call_id, offers.offer_id, offers.ended_at,
    offers.queue || ', ' || offers.agent
FROM offers JOIN visits USING (visit_id)
WHERE offers.end_reason = 'answered' AND visits.ended_at IS NOT NULL AND visits.answered_at IS NULL
UNION ALL
SELECT 'time and reason of the end disagree', ends.call_id, ends.item_id, ends.ended_at, ends.detail
FROM (
    SELECT call_id, call_id AS item_id, ended_at, end_reason, 'call' AS detail FROM calls
    UNION ALL SELECT call_id, leg_id, ended_at, end_reason, 'leg' FROM legs
    UNION ALL SELECT call_id, visit_id, ended_at, end_reason, 'visit' FROM visits
    UNION ALL SELECT call_id, offer_id, ended_at, end_reason, 'offer' FROM offers
) AS ends
WHERE (ends.ended_at IS NULL) <> (ends.end_reason IS NULL)
UNION ALL
SELECT 'negative duration', spans.call_id, spans.item_id, spans.ends, spans.detail
FROM (
    SELECT call_id, call_id AS item_id, started_at AS begins, ended_at AS ends,
        'call: ended before it started' AS detail FROM calls
    UNION ALL SELECT call_id, call_id, started_at, answered_at,
        'call: answered before it started' FROM calls
    UNION ALL SELECT call_id, call_id, answered_at, ended_at,
        'call: ended before it was answered' FROM calls
    UNION ALL SELECT call_id, leg_id, started_at, ended_at,
        'leg: ended before it started' FROM legs
    UNION ALL SELECT call_id, leg_id, started_at, answered_at,
        'leg: answered before it started' FROM legs
    UNION ALL SELECT call_id, leg_id, answered_at, ended_at,
        'leg: ended before it was answered' FROM legs
    UNION ALL SELECT call_id, visit_id, enqueued_at, ended_at,
        'visit: ended before it began' FROM visits
    UNION ALL SELECT call_id, visit_id, enqueued_at, answered_at,
        'visit: answered before it began' FROM visits
    UNION ALL SELECT call_id, visit_id, answered_at, released_at,
        'visit: talk over before it began' FROM visits
    UNION ALL SELECT call_id, offer_id, offered_at, ended_at,
        'offer: ended before it rang' FROM offers
    UNION ALL SELECT call_id, call_id || '/' || number, entered_at, left_at,
        'step: left before it was entered' FROM flow_steps
) AS spans
WHERE spans.ends < spans.begins;

COMMENT ON VIEW reconcile_problems IS 'What does not add up; empty when all is well.';
COMMENT ON COLUMN reconcile_problems.problem IS 'What is wrong.';
COMMENT ON COLUMN reconcile_problems.call_id IS 'The call it is about.';
COMMENT ON COLUMN reconcile_problems.item_id IS 'The row it is about: a call, leg, visit, offer, promise, step or recording.';
COMMENT ON COLUMN reconcile_problems.noticed_at IS 'The moment in the story at which it shows.';
COMMENT ON COLUMN reconcile_problems.detail IS 'What helps to find it.';

-- migrate:down

DROP VIEW reconcile_problems, promise_outcomes, cdr;
