package referenceloop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
)

// Subject takes the triggers.
const Subject = "reference.trigger"

const (
	writers  = 2   // statements of one kind under way at the same time
	posts    = 512 // HTTP requests under way at the same time
	queue    = 8192
	stateRun = 1
	stateEnd = 2
)

// Schema makes the one table of the loop.
const Schema = `
CREATE TABLE IF NOT EXISTS reference_runs (
	tenant      uuid        NOT NULL,
	id          uuid        NOT NULL,
	workflow_id uuid        NOT NULL,
	state       smallint    NOT NULL,
	create_time timestamptz NOT NULL,
	start_time  timestamptz,
	end_time    timestamptz,
	detail      jsonb       NOT NULL,
	PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS reference_runs_workflow ON reference_runs (tenant, workflow_id, create_time DESC)`

const insertSQL = `
INSERT INTO reference_runs (tenant, id, workflow_id, state, create_time, detail)
SELECT $1, id, $2, $3, now(), detail FROM unnest($4::uuid[], $5::text[]::jsonb[]) AS i (id, detail)`

const updateSQL = `
UPDATE reference_runs r SET state = $2, start_time = i.start_time, end_time = i.end_time, detail = i.detail
FROM unnest($3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::text[]::jsonb[]) AS i (id, start_time, end_time, detail)
WHERE r.tenant = $1 AND r.id = i.id`

// Trigger is what a request holds.
type Trigger struct {
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
}

// run is one pass through the loop.
type run struct {
	id         uuid.UUID
	trigger    Trigger
	message    *nats.Msg
	start, end time.Time
	status     int
}

// detail is what is kept of a run beside its columns.
type detail struct {
	Trigger Trigger `json:"trigger"`
	Status  int     `json:"status,omitempty"`
}

// Loop is the system under comparison.
type Loop struct {
	conn             *nats.Conn
	pool             *pgxpool.Pool
	target           string
	client           *http.Client
	tenant, workflow uuid.UUID
	accept, record   chan *run
	post             chan *run
}

// New returns a loop that takes triggers from conn, keeps rows with pool, and posts to target.
func New(conn *nats.Conn, pool *pgxpool.Pool, target string) *Loop {
	return &Loop{
		conn: conn, pool: pool, target: target,
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: posts, MaxConnsPerHost: posts}},
		tenant: uuid.New(), workflow: uuid.New(),
		accept: make(chan *run, queue), post: make(chan *run, queue), record: make(chan *run, queue),
	}
}

// Run serves until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	if _, err := l.pool.Exec(ctx, Schema); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	work := func(fn func(context.Context) error) {
		wg.Go(func() {
			if err := fn(ctx); err != nil {
				cancel(err)
			}
		})
	}
	for range writers {
		work(func(ctx context.Context) error { return batch(ctx, l.accept, l.insert) })
		work(func(ctx context.Context) error { return batch(ctx, l.record, l.update) })
	}
	for range posts {
		work(l.postAll)
	}
	sub, err := l.conn.Subscribe(Subject, func(m *nats.Msg) {
		r := &run{id: uuid.Must(uuid.NewV7()), message: m}
		if err := json.Unmarshal(m.Data, &r.trigger); err != nil {
			cancel(fmt.Errorf("read trigger: %w", err))
			return
		}
		select {
		case l.accept <- r:
		case <-ctx.Done():
		}
	})
	if err != nil {
		cancel(err)
	}
	<-ctx.Done()
	wg.Wait()
	if sub != nil {
		err = errors.Join(err, sub.Unsubscribe())
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

func (l *Loop) insert(ctx context.Context, runs []*run) error {
	ids := make([]uuid.UUID, len(runs))
	details := make([]string, len(runs))
	for i, r := range runs {
		text, err := json.Marshal(detail{Trigger: r.trigger})
		if err != nil {
			return err
		}
		ids[i], details[i] = r.id, string(text)
	}
	if _, err := l.pool.Exec(ctx, insertSQL, l.tenant, l.workflow, int16(stateRun), ids, details); err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	for _, r := range runs {
		if err := r.message.Respond(r.id[:]); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		l.post <- r
	}
	return nil
}

func (l *Loop) postAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.post:
			if err := l.call(ctx, r); err != nil {
				return fmt.Errorf("post: %w", err)
			}
			l.record <- r
		}
	}
}

func (l *Loop) call(ctx context.Context, r *run) error {
	r.start = time.Now()
	body, err := json.Marshal(r.trigger)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", r.id.String())
	res, err := l.client.Do(req)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return errors.Join(err, res.Body.Close())
	}
	r.status, r.end = res.StatusCode, time.Now()
	return res.Body.Close()
}

func (l *Loop) update(ctx context.Context, runs []*run) error {
	ids := make([]uuid.UUID, len(runs))
	starts, ends := make([]time.Time, len(runs)), make([]time.Time, len(runs))
	details := make([]string, len(runs))
	for i, r := range runs {
		text, err := json.Marshal(detail{Trigger: r.trigger, Status: r.status})
		if err != nil {
			return err
		}
		ids[i], starts[i], ends[i], details[i] = r.id, r.start, r.end, string(text)
	}
	_, err := l.pool.Exec(ctx, updateSQL, l.tenant, int16(stateEnd), ids, starts, ends, details)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

// Ended counts the runs that have gone through.
func Ended(ctx context.Context, conn *pgx.Conn) (int, error) {
	var n int
	err := conn.QueryRow(ctx, `SELECT count(*) FROM reference_runs WHERE state = $1`, int16(stateEnd)).Scan(&n)
	return n, err
}

// Encode writes a trigger.
func Encode(id string, data json.RawMessage) ([]byte, error) {
	return json.Marshal(Trigger{ID: id, Data: data})
}
