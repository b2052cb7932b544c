package main

import (
	"fmt"
)

// layout is one way to store executions.
type layout struct {
	name   string
	schema string
	// accept takes the tenants, ids, workflow ids, keys and bodies of a batch
	// as arrays, and the owner; the number of rows it affects is what it accepted.
	accept string
	// finish takes tenants, ids, epochs, step outputs, the lowest and highest
	// id, and the owner; it returns the ids that were still ours.
	finish string
	// wait turns accepted rows of an owner into claimable ones.
	wait string
	// claim takes a number of rows and an owner; unclaim gives them back.
	claim, unclaim string
	// history fills the finished executions from generate_series.
	history []string
}

// The kinds of layout. What is common to them: starts, the order in which rows
// are locked, batches as arrays, partitions by range of the id, which is a
// UUIDv7 and so by the time of accept.
const (
	kindHistoryAtAccept = "A" // live + executions at accept; the end updates executions
	kindHistoryAtEnd    = "B" // live with the body at accept; the end moves it to executions
	kindSingle          = "C" // executions alone, with the columns of a claim
)

func layoutNamed(name string) (layout, bool) {
	switch name {
	case "A":
		return newLayout(name, kindHistoryAtAccept, params{fill: 50, body: "jsonb"}), true
	case "A100":
		return newLayout(name, kindHistoryAtAccept, params{fill: 100, body: "jsonb"}), true
	case "A2":
		return newLayout(name, kindHistoryAtAccept, params{fill: 50, body: "jsonb", inline: true}), true
	case "A2raw":
		return newLayout(name, kindHistoryAtAccept, params{fill: 50, body: "text", inline: true}), true
	case "B":
		return newLayout(name, kindHistoryAtEnd, params{fill: 100, body: "jsonb", inline: true}), true
	case "Braw":
		return newLayout(name, kindHistoryAtEnd, params{fill: 100, body: "text", inline: true}), true
	case "C":
		return newLayout(name, kindSingle, params{fill: 50, body: "jsonb"}), true
	}
	return layout{}, false
}

type params struct {
	fill   int    // fillfactor of executions
	body   string // type of bodies and outputs
	inline bool   // the step's result inside the execution's row
}

const (
	startsTable = `
CREATE TABLE starts (
  tenant text NOT NULL, key uuid NOT NULL, execution_id uuid NOT NULL, outcome smallint NOT NULL,
  expires_at timestamptz NOT NULL, PRIMARY KEY (tenant, key));`

	liveTable = `
CREATE TABLE live (
  tenant text NOT NULL, id uuid NOT NULL, owner int, epoch int NOT NULL, seq int NOT NULL, wake_at timestamptz NOT NULL
  %s, PRIMARY KEY (tenant, id))
  WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX live_claim ON live (wake_at) WHERE owner IS NULL;`

	executionsTable = `
CREATE TABLE executions (
  tenant text NOT NULL, id uuid NOT NULL, workflow_id uuid NOT NULL, revision int NOT NULL, state smallint NOT NULL,
  seq int NOT NULL, start_time timestamptz NOT NULL, end_time timestamptz, body %[1]s NOT NULL %[2]s,
  PRIMARY KEY (tenant, id)) PARTITION BY RANGE (id);
CREATE INDEX executions_by_workflow ON executions (tenant, workflow_id, id);
CREATE TABLE executions_old PARTITION OF executions FOR VALUES FROM (MINVALUE) TO ('01000000-0000-7000-8000-000000000000');
CREATE TABLE executions_now PARTITION OF executions
  FOR VALUES FROM ('01000000-0000-7000-8000-000000000000') TO ('0f000000-0000-7000-8000-000000000000') WITH (fillfactor = %[3]d);
CREATE TABLE executions_next PARTITION OF executions FOR VALUES FROM ('0f000000-0000-7000-8000-000000000000') TO (MAXVALUE);`

	stepsTable = `
CREATE TABLE steps (
  tenant text NOT NULL, execution_id uuid NOT NULL, path text NOT NULL, attempt int NOT NULL, state smallint NOT NULL,
  start_time timestamptz NOT NULL, end_time timestamptz NOT NULL, output %[1]s,
  PRIMARY KEY (tenant, execution_id, path, attempt)) PARTITION BY RANGE (execution_id);
CREATE TABLE steps_now PARTITION OF steps FOR VALUES FROM (MINVALUE) TO ('0f000000-0000-7000-8000-000000000000');
CREATE TABLE steps_next PARTITION OF steps FOR VALUES FROM ('0f000000-0000-7000-8000-000000000000') TO (MAXVALUE);`

	acceptInput = `
WITH input AS (
  SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[]) AS i (tenant, id, workflow_id, key, body)
), won AS (
  INSERT INTO starts AS s (tenant, key, execution_id, outcome, expires_at)
  SELECT tenant, key, id, 1, now() + interval '7 days' FROM input
  ON CONFLICT (tenant, key) DO UPDATE SET execution_id = excluded.execution_id, expires_at = excluded.expires_at
    WHERE s.expires_at < now()
  RETURNING s.execution_id
), taken AS (SELECT input.* FROM input JOIN won ON won.execution_id = input.id)`

	finishInput = `
WITH input AS (
  SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[]) AS i (tenant, id, epoch, output)
), mine AS (
  SELECT t.tenant, t.id, input.output FROM %[1]s t JOIN input USING (tenant, id)
  WHERE t.owner = $7 AND t.epoch = input.epoch AND t.id BETWEEN $5 AND $6
  ORDER BY t.tenant, t.id FOR UPDATE OF t
)`

	claimFrom = `
WITH due AS (
  SELECT tenant, id FROM %[1]s WHERE %[2]s AND wake_at <= now() ORDER BY wake_at LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE %[1]s t SET owner = $2, epoch = t.epoch + 1 %[3]s FROM due
WHERE t.tenant = due.tenant AND t.id = due.id RETURNING t.id`

	insertStep = `INSERT INTO steps (tenant, execution_id, path, attempt, state, start_time, end_time, output)
  SELECT tenant, id, 'post', 1, 4, now(), now(), output::%[1]s FROM mine`

	insertHistory = `INSERT INTO executions (tenant, id, workflow_id, revision, state, seq, start_time, end_time, body %[1]s)
SELECT tenant, id, workflow_id, 1, 4, 2, now(), now(), body::%[2]s %[3]s FROM history`
	insertHistoryStarts = `INSERT INTO starts (tenant, key, execution_id, outcome, expires_at)
SELECT tenant, gen_random_uuid(), id, 1, now() + interval '7 days' FROM history`
	insertHistorySteps = `INSERT INTO steps (tenant, execution_id, path, attempt, state, start_time, end_time, output)
SELECT tenant, id, 'post', 1, 4, now(), now(), output::%[1]s FROM history`
)

func newLayout(name, kind string, p params) layout {
	l := layout{name: name}
	stepsColumn, stepsValue := "", ""
	historyColumn, historyValue := "", ""
	record := fmt.Sprintf(insertStep, p.body)
	if p.inline {
		stepsColumn = ", steps " + p.body
		stepsValue = ", steps = mine.output::" + p.body
		historyColumn, historyValue = ", steps", ", output::"+p.body
	}
	switch kind {
	case kindHistoryAtAccept:
		l.schema = startsTable + fmt.Sprintf(liveTable, "") + fmt.Sprintf(executionsTable, p.body, stepsColumn, p.fill)
		l.accept = acceptInput + `, l AS (
  INSERT INTO live (tenant, id, owner, epoch, seq, wake_at) SELECT tenant, id, $6, 1, 1, now() FROM taken)
INSERT INTO executions (tenant, id, workflow_id, revision, state, seq, start_time, body)
SELECT tenant, id, workflow_id, 1, 2, 1, now(), body::` + p.body + ` FROM taken`
		l.finish = fmt.Sprintf(finishInput, "live") + `, gone AS (
  DELETE FROM live l USING mine WHERE l.tenant = mine.tenant AND l.id = mine.id
), ended AS (
  UPDATE executions e SET state = 4, end_time = now(), seq = 2` + stepsValue + `
  FROM mine WHERE e.tenant = mine.tenant AND e.id = mine.id AND e.id BETWEEN $5 AND $6)`
		l.finish += tail(p, record)
	case kindHistoryAtEnd:
		l.schema = startsTable + fmt.Sprintf(liveTable, ", workflow_id uuid NOT NULL, body "+p.body+" NOT NULL") +
			`CREATE INDEX live_by_workflow ON live (tenant, workflow_id, id);` + // lists show what runs, too
			fmt.Sprintf(executionsTable, p.body, stepsColumn, p.fill)
		l.accept = acceptInput + `
INSERT INTO live (tenant, id, owner, epoch, seq, wake_at, workflow_id, body)
SELECT tenant, id, $6, 1, 1, now(), workflow_id, body::` + p.body + ` FROM taken`
		l.finish = fmt.Sprintf(finishInput, "live") + `, gone AS (
  DELETE FROM live l USING mine WHERE l.tenant = mine.tenant AND l.id = mine.id
  RETURNING l.tenant, l.id, l.workflow_id, l.wake_at, l.body, mine.output)
INSERT INTO executions (tenant, id, workflow_id, revision, state, seq, start_time, end_time, body, steps)
SELECT tenant, id, workflow_id, 1, 4, 2, wake_at, now(), body, output::` + p.body + ` FROM gone ORDER BY tenant, id RETURNING id`
	case kindSingle:
		columns := ", owner int, epoch int NOT NULL DEFAULT 1, claimable bool NOT NULL DEFAULT false, wake_at timestamptz NOT NULL DEFAULT now()"
		l.schema = startsTable + fmt.Sprintf(executionsTable, p.body, columns+stepsColumn, p.fill) +
			`CREATE INDEX executions_claim ON executions (wake_at) WHERE claimable;`
		l.accept = acceptInput + `
INSERT INTO executions (tenant, id, workflow_id, revision, state, seq, start_time, body, owner)
SELECT tenant, id, workflow_id, 1, 2, 1, now(), body::` + p.body + `, $6 FROM taken`
		l.finish = fmt.Sprintf(finishInput, "executions") + `, ended AS (
  UPDATE executions e SET state = 4, end_time = now(), seq = 2` + stepsValue + `
  FROM mine WHERE e.tenant = mine.tenant AND e.id = mine.id AND e.id BETWEEN $5 AND $6)`
		l.finish += tail(p, record)
	}
	l.claims(kind)
	if !p.inline {
		l.schema += fmt.Sprintf(stepsTable, p.body)
		l.history = append(l.history, fmt.Sprintf(insertHistorySteps, p.body))
	}
	l.history = append(l.history, fmt.Sprintf(insertHistory, historyColumn, p.body, historyValue), insertHistoryStarts)
	return l
}

// tail records the step, or only says which executions were ours.
func tail(p params, record string) string {
	if p.inline {
		return ` SELECT id FROM mine`
	}
	return record + ` RETURNING execution_id`
}

func (l *layout) claims(kind string) {
	table, claimable, mark, unmark := "live", "owner IS NULL", "", ""
	if kind == kindSingle {
		table, claimable, mark, unmark = "executions", "claimable", ", claimable = false", ", claimable = true"
	}
	l.wait = fmt.Sprintf(`UPDATE %s SET owner = NULL %s WHERE owner = $1`, table, unmark)
	l.claim = fmt.Sprintf(claimFrom, table, claimable, mark)
	l.unclaim = fmt.Sprintf(`UPDATE %s SET owner = NULL, wake_at = now() %s WHERE owner = $1 AND id = ANY($2::uuid[]) AND tenant = ANY($3::text[])`, table, unmark)
}
