//go:build linux

package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/test/referenceloop"
)

const (
	roundTimeout = 2 * time.Minute
	// inFlight bounds the triggers of the reference loop that wait for their reply, and pending those of ours that wait for the stream's.
	inFlight = 512
	pending  = 4096
	pollDone = 20 * time.Millisecond
)

// round is what one pass of n runs took.
type round struct {
	n    int
	cost cost
}

func (r round) perSecond() float64 { return float64(r.n) / r.cost.Took.Seconds() }

// side is one of the two systems that are compared.
type side struct {
	name  string
	meter *meter
	// publishAll sends the triggers first..first+n-1 as fast as they are taken.
	publishAll func(ctx context.Context, first, n int) error
	// publish sends one trigger and returns when it was taken.
	publish func(ctx context.Context, number int) error
	// ended counts the runs that are recorded as done.
	ended func(ctx context.Context) (int, error)
	done  int // runs that have ended in the rounds so far
}

// run makes one round.
func (s *side) run(ctx context.Context, t *target, first, n int) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	t.expect(n)
	before, err := s.meter.read()
	if err != nil {
		return round{}, err
	}
	if err := s.publishAll(ctx, first, n); err != nil {
		return round{}, fmt.Errorf("%s: publish: %w", s.name, err)
	}
	if err := t.await(ctx); err != nil {
		return round{}, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := s.awaitRecorded(ctx, n); err != nil {
		return round{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.meter.read()
	return round{n: n, cost: before.until(after)}, err
}

// awaitRecorded returns when all runs of the round are recorded as done.
func (s *side) awaitRecorded(ctx context.Context, n int) error {
	ticker := time.NewTicker(pollDone)
	defer ticker.Stop()
	for {
		got, err := s.ended(ctx)
		switch {
		case err != nil:
			return err
		case got == s.done+n:
			s.done = got
			return nil
		case got > s.done+n:
			return fmt.Errorf("%d runs ended, %d were triggered", got, s.done+n)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d runs are recorded as done: %w", got-s.done, n, ctx.Err())
		}
	}
}

// latencies publishes n triggers at a steady rate and returns, sorted, how long after its publication each reached the target.
func (s *side) latencies(ctx context.Context, t *target, first, n int, every time.Duration) ([]time.Duration, cost, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n)*every+roundTimeout)
	defer cancel()
	t.expect(n)
	before, err := s.meter.read()
	if err != nil {
		return nil, cost{}, err
	}
	published := make([]time.Time, n)
	errs := make(chan error, n)
	var wg sync.WaitGroup
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := range n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, cost{}, ctx.Err()
		}
		published[i] = time.Now()
		wg.Go(func() {
			if err := s.publish(ctx, first+i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, cost{}, fmt.Errorf("%s: publish: %w", s.name, err)
	default:
	}
	if err := t.await(ctx); err != nil {
		return nil, cost{}, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := s.awaitRecorded(ctx, n); err != nil {
		return nil, cost{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.meter.read()
	all := make([]time.Duration, n)
	for i := range n {
		all[i] = t.when(first + i).Sub(published[i])
	}
	slices.Sort(all)
	return all, before.until(after), err
}

// percentile of sorted values.
func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p))]
}

// ours is the product.
func ours(m *meter, js jetstream.JetStream, db *pgx.Conn, workflow string) *side {
	message := func(n int) (*nats.Msg, error) {
		data, err := event(n)
		return &nats.Msg{Subject: "uniconnect.events.acme." + eventType, Data: data, Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {triggerID(n)}, "ce-source": {"/bench"}, "ce-type": {eventType},
		}}, err
	}
	return &side{
		name: "ours", meter: m,
		publishAll: func(ctx context.Context, first, n int) error {
			for i := range n {
				msg, err := message(first + i)
				if err != nil {
					return err
				}
				if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(roundTimeout)); err != nil {
					return err
				}
			}
			select {
			case <-js.PublishAsyncComplete():
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		publish: func(ctx context.Context, number int) error {
			msg, err := message(number)
			if err != nil {
				return err
			}
			_, err = js.PublishMsg(ctx, msg)
			return err
		},
		ended: func(ctx context.Context) (int, error) {
			var live bool
			err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM executor.live WHERE workflow_id = $1)`, workflow).Scan(&live)
			if err != nil || live {
				return 0, err
			}
			var n int
			err = db.QueryRow(ctx, `SELECT count(*) FROM executor.executions WHERE tenant = 'acme' AND workflow_id = $1 AND state = 4`,
				workflow).Scan(&n)
			return n, err
		},
	}
}

// reference is the loop without product code.
func reference(m *meter, conn *nats.Conn, db *pgx.Conn) *side {
	message := func(n int) ([]byte, error) {
		data, err := event(n)
		if err != nil {
			return nil, err
		}
		return referenceloop.Encode(triggerID(n), data)
	}
	publish := func(ctx context.Context, number int) error {
		text, err := message(number)
		if err != nil {
			return err
		}
		_, err = conn.RequestWithContext(ctx, referenceloop.Subject, text)
		return err
	}
	return &side{
		name: "reference loop", meter: m, publish: publish,
		publishAll: func(ctx context.Context, first, n int) error {
			numbers := make(chan int)
			errs := make(chan error, inFlight)
			var wg sync.WaitGroup
			for range inFlight {
				wg.Go(func() {
					for number := range numbers {
						if err := publish(ctx, number); err != nil {
							errs <- err
							return
						}
					}
				})
			}
			var err error
			for i := 0; i < n && err == nil; i++ {
				select {
				case numbers <- first + i:
				case err = <-errs:
				}
			}
			close(numbers)
			wg.Wait()
			select {
			case lateErr := <-errs:
				return lateErr
			default:
				return err
			}
		},
		ended: func(ctx context.Context) (int, error) { return referenceloop.Ended(ctx, db) },
	}
}
