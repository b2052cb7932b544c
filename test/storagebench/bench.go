package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/devpg"
)

const (
	tenants    = 20
	workflows  = 200
	waiter     = 1000 // owner of rows on their way to being claimable
	claimer    = 2000
	claimSize  = 32
	claimEvery = 20 * time.Millisecond
)

// bench is one layout in a cluster of its own.
type bench struct {
	layout  layout
	plan    plan
	server  *devpg.Server // nil between the rounds
	url     string
	results []result
	claims  claims
}

func (b *bench) withServer(ctx context.Context, fn func(context.Context) error) error {
	server, err := devpg.Start(ctx, devpg.Options{DataDir: filepath.Join(b.plan.dir, b.layout.name)})
	if err != nil {
		return err
	}
	b.server, b.url = server, server.URL("postgres")
	err = fn(ctx)
	stopCtx, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancelStop()
	return errors.Join(err, server.Stop(stopCtx))
}

func (b *bench) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	statements := append([]string{
		b.layout.schema,
		// Ids as those of a UUIDv7 whose clock was a little earlier, in order.
		fmt.Sprintf(`CREATE TEMP TABLE history AS
SELECT 'tenant' || (n %% %d) AS tenant,
  ('01800000-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n %% 4096), 3, '0') || '-8' || substr(md5(n::text), 1, 3) || '-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
  md5((n %% %d)::text)::uuid AS workflow_id,
  '{"call_id":"' || md5(n::text) || '","pad":"' || repeat(md5((n + 1)::text), 17) || '"}' AS body,
  '{"status":200,"body":"' || repeat(md5((n + 2)::text), 4) || '"}' AS output
FROM generate_series(1, %d) n`, tenants, workflows, b.plan.history),
	}, b.layout.history...)
	statements = append(statements, `DROP TABLE history`, `VACUUM ANALYZE`)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%w in: %.300s", err, sql)
		}
	}
	return nil
}

// measure runs one round without a claimer.
func (b *bench) measure(ctx context.Context) (fmt.Stringer, error) {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if err := b.write(ctx, b.plan.warmUp); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `CHECKPOINT`); err != nil {
		return nil, err
	}
	var samples [3]sample
	steps := []func() error{
		func() error { return nil },
		func() error { return b.write(ctx, b.plan.runs) },
		// What a layout leaves for the vacuum to do is part of its cost.
		func() error { _, err := conn.Exec(ctx, `VACUUM`); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
		if samples[i], err = takeSample(ctx, conn, b.server.PID()); err != nil {
			return nil, err
		}
	}
	r := newResult(samples, b.rounded(b.plan.runs))
	b.results = append(b.results, r)
	return r, nil
}

// measureClaims times the claim query among many waiting rows while the
// writers work.
func (b *bench) measureClaims(ctx context.Context) (fmt.Stringer, error) {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if len(b.claims) == 0 {
		if err := b.fillWaiting(ctx, conn); err != nil {
			return nil, err
		}
	}
	var done atomic.Bool
	var group errgroup.Group
	group.Go(func() error {
		defer done.Store(true)
		return b.write(ctx, b.plan.runs)
	})
	var round claims
	group.Go(func() (err error) {
		round, err = b.claimUntil(ctx, conn, &done)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	b.claims = append(b.claims, round...)
	return round, nil
}

func (b *bench) fillWaiting(ctx context.Context, conn *pgx.Conn) error {
	for range b.plan.waiting / b.plan.batch {
		if _, err := b.acceptBatch(ctx, conn, waiter); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, b.layout.wait, waiter); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `VACUUM ANALYZE`)
	return err
}

func (b *bench) claimUntil(ctx context.Context, conn *pgx.Conn, done *atomic.Bool) (claims, error) {
	ticker := time.NewTicker(claimEvery)
	defer ticker.Stop()
	names := tenantNames()
	var times claims
	for !done.Load() {
		begin := time.Now()
		rows, err := conn.Query(ctx, b.layout.claim, claimSize, claimer)
		if err != nil {
			return nil, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
		if len(ids) != claimSize {
			return nil, fmt.Errorf("claimed %d rows, want %d", len(ids), claimSize)
		}
		if _, err := conn.Exec(ctx, b.layout.unclaim, claimer, ids, names); err != nil {
			return nil, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return times, nil
}

func (b *bench) rounded(runs int) int {
	per := b.plan.writers * b.plan.batch
	return (runs + per - 1) / per * per
}

func (b *bench) write(ctx context.Context, runs int) error {
	group, ctx := errgroup.WithContext(ctx)
	for w := range b.plan.writers {
		group.Go(func() error {
			conn, err := pgx.Connect(ctx, b.url)
			if err != nil {
				return err
			}
			defer conn.Close(ctx)
			for range b.rounded(runs) / (b.plan.writers * b.plan.batch) {
				if err := b.acceptAndFinish(ctx, conn, w+1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// batch is the arrays of one accept.
type batch struct {
	tenants   []string
	ids       []pgtype.UUID
	workflows []pgtype.UUID
	keys      []pgtype.UUID
	bodies    []string
}

func (b *bench) acceptBatch(ctx context.Context, conn *pgx.Conn, owner int) (*batch, error) {
	in, err := newBatch(b.plan.batch)
	if err != nil {
		return nil, err
	}
	tag, err := conn.Exec(ctx, b.layout.accept, in.tenants, in.ids, in.workflows, in.keys, in.bodies, owner)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	if got := tag.RowsAffected(); got != int64(b.plan.batch) {
		return nil, fmt.Errorf("accepted %d of %d", got, b.plan.batch)
	}
	return in, nil
}

func (b *bench) acceptAndFinish(ctx context.Context, conn *pgx.Conn, owner int) error {
	in, err := b.acceptBatch(ctx, conn, owner)
	if err != nil {
		return err
	}
	epochs := make([]int32, b.plan.batch)
	outputs := make([]string, b.plan.batch)
	low, high := in.ids[0], in.ids[0]
	for i := range epochs {
		epochs[i] = 1
		outputs[i] = fmt.Sprintf(`{"status":200,"body":%q}`, randomHex(128))
		if slices.Compare(in.ids[i].Bytes[:], low.Bytes[:]) < 0 {
			low = in.ids[i]
		}
		if slices.Compare(in.ids[i].Bytes[:], high.Bytes[:]) > 0 {
			high = in.ids[i]
		}
	}
	rows, err := conn.Query(ctx, b.layout.finish, in.tenants, in.ids, epochs, outputs, low, high, owner)
	if err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	ours, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
	if err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	if len(ours) != b.plan.batch {
		return fmt.Errorf("finished %d of %d", len(ours), b.plan.batch)
	}
	return nil
}

func newBatch(n int) (*batch, error) {
	in := &batch{}
	for range n {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		in.tenants = append(in.tenants, fmt.Sprintf("tenant%d", rand.IntN(tenants)))
		in.ids = append(in.ids, pgtype.UUID{Bytes: id, Valid: true})
		in.workflows = append(in.workflows, workflowID(rand.IntN(workflows)))
		in.keys = append(in.keys, pgtype.UUID{Bytes: uuid.New(), Valid: true})
		in.bodies = append(in.bodies, `{"call_id":"`+randomHex(32)+`","pad":"`+randomHex(544)+`"}`)
	}
	return in, nil
}

func workflowID(n int) pgtype.UUID {
	var id [16]byte
	for i := range id {
		id[i] = byte(n*31 + i*7)
	}
	return pgtype.UUID{Bytes: id, Valid: true}
}

func tenantNames() []string {
	var names []string
	for i := range tenants {
		names = append(names, fmt.Sprintf("tenant%d", i))
	}
	return names
}

func randomHex(n int) string {
	const digits = "0123456789abcdef"
	text := make([]byte, n)
	for i := 0; i < n; i += 16 {
		bits := rand.Uint64()
		for j := i; j < min(i+16, n); j++ {
			text[j] = digits[bits&15]
			bits >>= 4
		}
	}
	return string(text)
}
