package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// flushSQL records a batch in one statement. It locks the live rows that are still the owner's, in the order of their key, and everything
// else follows from those: a row that is somebody else's by now gets neither a result nor a state. An execution that ended leaves live;
// one that waits or is handed back loses its owner and rises in epoch.
const flushSQL = `
WITH record AS (
	SELECT * FROM unnest($2::int4[], $3::text[], $4::uuid[], $5::int4[], $6::int4[], $7::int2[], $8::timestamptz[], $9::timestamptz[],
		$10::text[], $11::int8[])
	AS r (ord, tenant, id, epoch, seq, state, wake_time, start_time, error, release_us)
), mine AS MATERIALIZED (
	SELECT r.*, l.workflow_id FROM record r JOIN live l ON l.tenant = r.tenant AND l.id = r.id
	WHERE ` + fence + `
	ORDER BY l.tenant, l.id
	FOR UPDATE OF l
), results AS (
	INSERT INTO step_results AS s (tenant, execution_id, path, attempt, ord, step_id, state, start_time, end_time, wake_time, output, error)
	SELECT tenant, execution_id, path, attempt, ord, step_id, state, start_time, end_time, wake_time, output, error
	FROM unnest($12::int4[], $13::text[], $14::uuid[], $15::text[], $16::int4[], $17::int4[], $18::text[], $19::int2[],
		$20::timestamptz[], $21::timestamptz[], $22::timestamptz[], $23::text[], $24::text[])
	AS i (of, tenant, execution_id, path, attempt, ord, step_id, state, start_time, end_time, wake_time, output, error)
	WHERE (of IN (SELECT ord FROM mine)) IS TRUE
	ON CONFLICT (tenant, execution_id, path, attempt) DO UPDATE
	SET state = EXCLUDED.state, start_time = EXCLUDED.start_time, end_time = EXCLUDED.end_time, wake_time = EXCLUDED.wake_time,
		output = EXCLUDED.output, error = EXCLUDED.error
), history AS (
	UPDATE executions e
	SET state = CASE WHEN m.release_us IS NOT NULL THEN 1 WHEN m.state = 0 THEN e.state ELSE m.state END,
		attempt = m.epoch,
		start_time = coalesce(e.start_time, m.start_time),
		end_time = CASE WHEN m.state >= 4 THEN now() END,
		wake_time = CASE WHEN m.state = 3 THEN m.wake_time END,
		error = m.error
	FROM mine m
	-- With the workflow either index finds one row. Without it, a plan made while the table is empty may take the workflows' index and
	-- read all of the tenant.
	WHERE e.tenant = m.tenant AND e.workflow_id = m.workflow_id AND e.id = m.id
		AND e.id BETWEEN $25 AND $26
		AND (m.state <> 0 OR m.start_time IS NOT NULL OR m.release_us IS NOT NULL)
), ended AS (
	DELETE FROM live l USING mine m WHERE m.state >= 4 AND l.tenant = m.tenant AND l.id = m.id
), kept AS (
	UPDATE live l
	SET seq = m.seq,
		owner = CASE WHEN m.state = 0 AND m.release_us IS NULL THEN l.owner END,
		epoch = CASE WHEN m.state = 0 AND m.release_us IS NULL THEN l.epoch ELSE l.epoch + 1 END,
		wake_at = CASE WHEN m.release_us IS NOT NULL THEN now() + m.release_us * interval '1 microsecond'
			ELSE coalesce(m.wake_time, l.wake_at) END
	FROM mine m
	WHERE m.state < 4 AND l.tenant = m.tenant AND l.id = m.id
)
SELECT ord FROM mine`

// reachedSQL tells which of the records were stored by an earlier try whose end was not seen: the row is at that record, or has ended with
// it. The epoch is the one that the record leaves behind; under a later one a successor may have written as many records.
const reachedSQL = `
SELECT r.ord
FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int4[], $5::int4[], $6::int4[]) AS r (ord, tenant, id, epoch, epoch_after, seq)
WHERE EXISTS (SELECT 1 FROM live l WHERE l.tenant = r.tenant AND l.id = r.id AND l.epoch = r.epoch_after AND l.seq = r.seq)
	OR EXISTS (SELECT 1 FROM executions e WHERE e.tenant = r.tenant AND e.id = r.id AND e.attempt = r.epoch AND e.state >= 4)`

const (
	maxErrorBytes = 4096
	maxPathBytes  = 1024
)

func newFlushColumns() *columns {
	return newColumns(1,
		oidInt4, oidText, oidUUID, oidInt4, oidInt4, oidInt2, oidTime, oidTime, oidText, oidInt8,
		oidInt4, oidText, oidUUID, oidText, oidInt4, oidInt4, oidText, oidInt2, oidTime, oidTime, oidTime, oidText, oidText)
}

// Flush records a batch in one transaction and says for each record, in order, what became of it. A record whose data cannot be stored
// ends its execution as failed. After an error nothing is known: the same batch can be given again as a later try, and records that
// went through are answered as they would have been.
func (s *Store) Flush(ctx context.Context, owner execution.OwnerID, records []execution.Record, try int) ([]execution.Flushed, error) {
	answers := make([]execution.Flushed, len(records))
	order := make([]int32, len(records))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(records[a].Tenant, records[b].Tenant), bytes.Compare(records[a].ID[:], records[b].ID[:]))
	})
	if err := s.flush(ctx, owner, records, order, answers); err != nil {
		return nil, err
	}
	if try > 1 {
		if err := s.reached(ctx, records, answers); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (s *Store) flush(ctx context.Context, owner execution.OwnerID, records []execution.Record, order []int32, answers []execution.Flushed) error {
	err := s.writeRecords(ctx, owner, records, order, answers)
	if err == nil {
		return nil
	}
	if !postgres.IsDataError(err) || len(order) == 1 && bare(&records[order[0]]) {
		return postgres.Classify(fmt.Errorf("record %d executions: %w", len(order), err))
	}
	if len(order) == 1 {
		return s.failUnstorable(ctx, owner, records, order[0], answers)
	}
	half := len(order) / 2
	if err := s.flush(ctx, owner, records, order[:half], answers); err != nil {
		return err
	}
	return s.flush(ctx, owner, records, order[half:], answers)
}

// bare reports whether a record is what failUnstorable makes: there is nothing left to take away from it.
func bare(r *execution.Record) bool {
	return len(r.Results) == 0 && r.Err != nil && r.Err.Reason == execution.ReasonUnstorable
}

// failUnstorable ends an execution whose record cannot be stored: with the reason, and without the data.
func (s *Store) failUnstorable(ctx context.Context, owner execution.OwnerID, records []execution.Record, at int32, answers []execution.Flushed) error {
	bad := records[at]
	failure := run.Error{Reason: execution.ReasonUnstorable, Message: "A result of this step cannot be stored."}
	if n := len(bad.Results); n > 0 {
		failure.StepID = bad.Results[n-1].StepID
	}
	records[at] = execution.Record{
		Tenant: bad.Tenant, ID: bad.ID, Epoch: bad.Epoch, Seq: bad.Seq, StartTime: bad.StartTime,
		State: run.Failed, Err: &failure,
	}
	if err := s.flush(ctx, owner, records, []int32{at}, answers); err != nil {
		return err
	}
	if answers[at] == execution.Stored {
		answers[at] = execution.Unstorable
	}
	return nil
}

func (s *Store) writeRecords(ctx context.Context, owner execution.OwnerID, records []execution.Record, order []int32, answers []execution.Flushed) error {
	c, _ := s.flushes.Get().(*columns)
	defer s.flushes.Put(c)
	defer c.release()
	c.reset()
	c.scalars[0] = owner[:]
	first, last := records[order[0]].ID, records[order[0]].ID
	for _, at := range order {
		r := &records[at]
		if bytes.Compare(r.ID[:], first[:]) < 0 {
			first = r.ID
		}
		if bytes.Compare(r.ID[:], last[:]) > 0 {
			last = r.ID
		}
		appendRecord(c.arrays, at, r)
	}
	params := append(c.params(), first[:], last[:])
	return s.execBinary(ctx, "executor_flush", flushSQL, params, func(row [][]byte) {
		answers[int32At(row[0])] = execution.Stored
	})
}

func appendRecord(a []array, at int32, r *execution.Record) {
	a[0].int4(at)
	a[1].text(r.Tenant)
	a[2].uuid(r.ID)
	a[3].int4(r.Epoch)
	a[4].int4(r.Seq)
	a[5].int2(int16(r.State))
	a[6].time(r.WakeTime)
	a[7].time(r.StartTime)
	appendError(&a[8], r.Err)
	if r.Release {
		a[9].int8(r.RetryIn.Microseconds())
	} else {
		a[9].null()
	}
	for i := range r.Results {
		result := &r.Results[i]
		a[10].int4(at)
		a[11].text(r.Tenant)
		a[12].uuid(r.ID)
		a[13].text(clean(result.Path, maxPathBytes))
		a[14].int4(int32(result.Attempt))
		a[15].int4(r.FirstResult + int32(i))
		a[16].text(result.StepID)
		a[17].int2(int16(result.State))
		a[18].time(result.StartTime)
		a[19].time(result.EndTime)
		a[20].time(result.WakeTime)
		if result.Output == nil {
			a[21].null()
		} else {
			a[21].raw(result.Output)
		}
		appendError(&a[22], result.Err)
	}
}

// reached corrects the answers of a repeated batch: what an earlier try stored is not lost.
func (s *Store) reached(ctx context.Context, records []execution.Record, answers []execution.Flushed) error {
	var ords, epochs, epochsAfter, seqs []int32
	var tenants []string
	var ids [][16]byte
	for i := range records {
		if answers[i] != execution.Lost {
			continue
		}
		r := &records[i]
		ords = append(ords, int32(i))
		tenants = append(tenants, r.Tenant)
		ids = append(ids, r.ID)
		epochs = append(epochs, r.Epoch)
		after := r.Epoch
		if r.Release || r.State != execution.StateKept {
			after++
		}
		epochsAfter = append(epochsAfter, after)
		seqs = append(seqs, r.Seq)
	}
	if len(ords) == 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx, reachedSQL, ords, tenants, ids, epochs, epochsAfter, seqs)
	if err != nil {
		return postgres.Classify(fmt.Errorf("read back records: %w", err))
	}
	defer rows.Close()
	for rows.Next() {
		var at int32
		if err := rows.Scan(&at); err != nil {
			return fmt.Errorf("read back records: %w", err)
		}
		answers[at] = execution.Stored
		if bare(&records[at]) {
			answers[at] = execution.Unstorable
		}
	}
	return postgres.Classify(rows.Err())
}

// storedError is the form of an error in a column.
type storedError struct {
	Reason    string `json:"reason"`
	Message   string `json:"message,omitempty"`
	StepID    string `json:"step_id,omitempty"`
	Retryable bool   `json:"retryable,omitempty"`
}

func appendError(a *array, e *run.Error) {
	if e == nil {
		a.null()
		return
	}
	// Marshal replaces what is no UTF-8 and cannot fail on texts.
	b, _ := json.Marshal(storedError{string(e.Reason), clean(e.Message, maxErrorBytes), clean(e.StepID, maxPathBytes), e.Retryable})
	a.raw(b)
}

// clean makes a text storable: without NUL, in valid UTF-8, and not longer than limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
	}
	if utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func parseError(b []byte) (*run.Error, error) {
	if b == nil {
		return nil, nil
	}
	var e storedError
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("read stored error: %w", err)
	}
	return &run.Error{Reason: fault.Reason(e.Reason), Message: e.Message, StepID: e.StepID, Retryable: e.Retryable}, nil
}
