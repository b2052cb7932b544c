package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/sandbox/internal/sink"
)

const insertRequests = `
INSERT INTO sink_requests (name, method, path, headers, body, time)
SELECT r.name, r.method, r.path, r.headers::json, r.body, r.time
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::timestamptz[])
    WITH ORDINALITY AS r (name, method, path, headers, body, time, n)
ORDER BY r.n`

// Append stores requests in one statement.
func (s *Store) Append(ctx context.Context, requests []sink.Request) error {
	n := len(requests)
	names, methods, paths, headers := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	bodies, times := make([][]byte, n), make([]time.Time, n)
	for i := range requests {
		r := &requests[i]
		names[i], methods[i], paths[i], headers[i], bodies[i], times[i] = r.Name, r.Method, r.Path, string(r.Headers), r.Body, r.Time
	}
	if _, err := s.pool.Exec(ctx, insertRequests, names, methods, paths, headers, bodies, times); err != nil {
		return failed("append requests", err)
	}
	return nil
}

const listRequests = `
SELECT r.name, r.method, r.path, r.headers, r.body, r.time
FROM (
    SELECT name, seq, method, path, headers, body, time
    FROM sink_requests WHERE name = $1
    ORDER BY seq DESC LIMIT $2
) r
ORDER BY r.seq`

// Each calls fn with the last requests of a sink, oldest first.
func (s *Store) Each(ctx context.Context, name string, limit int, fn func(sink.Request) error) error {
	rows, err := s.pool.Query(ctx, listRequests, name, limit)
	if err != nil {
		return failed("list requests", err)
	}
	var r sink.Request
	columns := []any{&r.Name, &r.Method, &r.Path, (*[]byte)(&r.Headers), &r.Body, &r.Time}
	if _, err = pgx.ForEachRow(rows, columns, func() error { return fn(r) }); err != nil {
		return failed("list requests", err)
	}
	return nil
}

const countRequests = `SELECT count(*) FROM sink_requests WHERE name = $1 AND path = $2`

// Count returns how many of a sink's requests had exactly this path.
func (s *Store) Count(ctx context.Context, name, path string) (int, error) {
	var n int
	if err := s.pool.QueryRow(ctx, countRequests, name, path).Scan(&n); err != nil {
		return 0, failed("count requests", err)
	}
	return n, nil
}

const deleteRequests = `DELETE FROM sink_requests WHERE name = $1`

// Empty forgets the requests of a sink.
func (s *Store) Empty(ctx context.Context, name string) error {
	if _, err := s.pool.Exec(ctx, deleteRequests, name); err != nil {
		return failed("delete requests", err)
	}
	return nil
}

const trimRequests = `
DELETE FROM sink_requests
WHERE name = $1 AND seq <= (SELECT seq FROM sink_requests WHERE name = $1 ORDER BY seq DESC OFFSET $2 LIMIT 1)`

// Trim keeps the last requests of a sink and forgets the others.
func (s *Store) Trim(ctx context.Context, name string, keep int) error {
	if _, err := s.pool.Exec(ctx, trimRequests, name, keep); err != nil {
		return failed("trim requests", err)
	}
	return nil
}
