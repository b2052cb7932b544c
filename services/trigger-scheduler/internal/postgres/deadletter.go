package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// A tenant that was deleted gets no letters: what is late must not bring it back.
const addLetters = `
WITH new AS (
    SELECT tenant, id, stream_seq, publish_time, reason, message, event_id, subject, headers, body, EXISTS (
        SELECT 1 FROM tenant_tombstones t WHERE t.tenant = n.tenant AND t.create_time > now() - interval '30 days'
    ) AS gone
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[], $10::bytea[])
        AS n (tenant, id, stream_seq, publish_time, reason, message, event_id, subject, headers, body)
), added AS (
    INSERT INTO dead_letters (tenant, id, stream_seq, publish_time, reason, message, event_id, subject, headers, body)
    SELECT tenant, id, stream_seq, publish_time, reason, message, event_id, subject, headers, body
    FROM new WHERE NOT gone
    ORDER BY tenant, stream_seq, publish_time
    ON CONFLICT ON CONSTRAINT dead_letters_message DO NOTHING
)
SELECT count(*) FROM new WHERE gone`

// Add implements intake.Letters.
func (s *Store) Add(ctx context.Context, letters []deadletter.Letter) (dropped int, err error) {
	n := len(letters)
	var (
		tenants, reasons, messages = make([]string, n), make([]string, n), make([]string, n)
		eventIDs, subjects         = make([]string, n), make([]string, n)
		ids                        = make([]uuid.UUID, n)
		seqs                       = make([]int64, n)
		times                      = make([]time.Time, n)
		headers                    = make([]json.RawMessage, n)
		bodies                     = make([][]byte, n)
	)
	for i, l := range letters {
		if ids[i], err = uuid.NewV7(); err != nil {
			return 0, fmt.Errorf("make dead letter's id: %w", err)
		}
		if headers[i], err = headerJSON(l.Header); err != nil {
			return 0, err
		}
		tenants[i], reasons[i], messages[i] = string(l.Tenant), string(l.Reason), clean(l.Message)
		eventIDs[i], subjects[i] = clean(l.EventID), clean(l.Subject)
		seqs[i], times[i] = int64(l.Sequence), l.Published
		if bodies[i] = l.Body; bodies[i] == nil {
			bodies[i] = []byte{}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	row := s.pool.QueryRow(ctx, addLetters, tenants, ids, seqs, times, reasons, messages, eventIDs, subjects, headers, bodies)
	if err := row.Scan(&dropped); err != nil {
		return 0, postgres.Classify(fmt.Errorf("store dead letters: %w", err))
	}
	return dropped, nil
}

// A page is limited in bytes as well: body and headers of a letter may hold 1 MiB. What is cut off is not read.
const listLetters = `
SELECT id, stream_seq, publish_time, reason, message, event_id, subject, headers, body, create_time, found
FROM (
    SELECT id, stream_seq, publish_time, reason, message, event_id, subject, headers, body, create_time, count(*) OVER () AS found,
           sum(size) OVER (ORDER BY id DESC) - size AS before
    FROM (
        SELECT id, stream_seq, publish_time, reason, message, event_id, subject, headers, body, create_time,
               octet_length(body) + octet_length(headers::text) AS size
        FROM dead_letters
        WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
    ) candidates
) page
WHERE before < $4
ORDER BY id DESC`

// maxPageBytes is when a page is full.
const maxPageBytes = 2 << 20

// List returns up to limit letters of a tenant, newest first, that come after the one with the id; an empty id begins. more says that
// there are further ones.
func (r *Reader) List(ctx context.Context, tenant event.Tenant, after string, limit int) (letters []deadletter.Letter, more bool, err error) {
	var from *uuid.UUID
	if after != "" {
		id, err := uuid.Parse(after)
		if err != nil {
			return nil, false, fault.InvalidArgument("PAGE_TOKEN", "the page token is not one of ours")
		}
		from = &id
	}
	rows, err := r.pool.Of(string(tenant)).Query(ctx, listLetters, string(tenant), from, limit+1, maxPageBytes)
	if err != nil {
		return nil, false, postgres.Classify(fmt.Errorf("list dead letters: %w", err))
	}
	var found int
	letters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (deadletter.Letter, error) {
		l := deadletter.Letter{Tenant: tenant}
		var id uuid.UUID
		var seq int64
		err := row.Scan(&id, &seq, &l.Published, &l.Reason, &l.Message, &l.EventID, &l.Subject, &l.Header, &l.Body, &l.Created, &found)
		l.ID, l.Sequence = id.String(), uint64(seq)
		return l, err
	})
	if err != nil {
		return nil, false, postgres.Classify(fmt.Errorf("read dead letters: %w", err))
	}
	letters = letters[:min(len(letters), limit)]
	return letters, found > len(letters), nil
}

// headerJSON writes headers in a form that jsonb takes.
func headerJSON(header map[string][]string) (json.RawMessage, error) {
	cleaned := make(map[string][]string, len(header))
	for name, values := range header {
		for _, v := range values {
			cleaned[clean(name)] = append(cleaned[clean(name)], clean(v))
		}
	}
	raw, err := json.Marshal(cleaned)
	if err != nil {
		return nil, fmt.Errorf("write headers: %w", err)
	}
	return raw, nil
}

// clean makes text that a text column takes.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
