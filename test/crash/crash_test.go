package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"workflow.uniconnect/test/stack"
	"workflow.uniconnect/test/target"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the faults, to repeat a run; 0: a new one")

const (
	kills      = 24 // of executors and trigger-schedulers together
	minRunning = 50 // executions under way at each of them
	perSecond  = 250
	settleTime = 90 * time.Second
)

// TestCrash kills executors and trigger-schedulers while they work, and stops an executor twice for longer than its lease. Afterwards no
// event may be lost, none may have started twice, and no step whose result was recorded may have been executed again.
func TestCrash(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; repeat with: go test ./crash -run TestCrash -seed %d", seed, seed)
	s := newSystem(t, stack.Options{}, func(c *target.Call) target.Answer {
		// Its own sequence for each call, so that the order in which calls come changes nothing.
		rng := rand.New(rand.NewPCG(seed, uint64(c.Number)))
		return target.Answer{After: 100*time.Millisecond + time.Duration(rng.Int64N(int64(200*time.Millisecond)))}
	})

	stop := make(chan struct{}) // closed when the faults are over
	generated := make(chan error, 1)
	go func() { generated <- s.generate(t.Context(), rand.New(rand.NewPCG(seed, 1)), perSecond, stop) }()
	err := s.breakThings(t.Context(), rand.New(rand.NewPCG(seed, 2)))
	close(stop)
	if err := errors.Join(err, <-generated); err != nil {
		t.Fatal(err)
	}
	s.settle(settleTime)

	a := s.accounts()
	v := Check(a)
	t.Logf("%d events, %d executions, %d calls; %d calls repeated for an attempt that was under way at a kill or stop, %d of stopped executors came late",
		len(a.Events), len(a.Executions), len(a.Calls), v.Repeated, v.Late)
	report(t, v)
	if v.Repeated == 0 {
		t.Error("no call was repeated: the kills met no call under way, so this run shows nothing")
	}
}

// breakThings does all faults, one after the other.
func (s *system) breakThings(ctx context.Context, rng *rand.Rand) error {
	stopAt := map[int]bool{kills / 3: true, 2 * kills / 3: true}
	var restarts sync.WaitGroup
	defer restarts.Wait()
	for i := range kills {
		if stopAt[i] {
			if err := s.stopExecutor(ctx, s.stack.Executors[rng.IntN(len(s.stack.Executors))]); err != nil {
				return err
			}
		}
		// The first two make sure that both kinds are met, whatever the seed.
		victims := [][]*stack.Process{s.stack.Executors, s.stack.Schedulers}
		kind := i
		if i > 1 {
			kind = rng.IntN(2)
		}
		p := victims[kind][rng.IntN(2)]
		if err := s.kill(ctx, p, rng); err != nil {
			return err
		}
	}
	return nil
}

// kill ends a process while enough executions run, and starts it again.
func (s *system) kill(ctx context.Context, p *stack.Process, rng *rand.Rand) error {
	if err := wait(ctx, time.Duration(500+rng.IntN(2500))*time.Millisecond); err != nil {
		return err
	}
	running, err := s.awaitRunning(ctx, minRunning)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := p.Kill(); err != nil {
		return err
	}
	for _, e := range s.stack.Executors {
		if e == p {
			s.fault(Fault{At: at})
		}
	}
	s.t.Logf("killed %s while %d executions ran", p.Name(), running)
	return p.Restart(ctx)
}

// stopExecutor stops an executor until its lease is over and others have taken all that it had, then lets it go on.
func (s *system) stopExecutor(ctx context.Context, p *stack.Process) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// The leases of those that were killed before must be over, so that the next one to end is that of the stopped one.
	owners, err := s.awaitOwners(ctx, len(s.stack.Executors))
	if err != nil {
		return err
	}
	running, err := s.awaitRunning(ctx, minRunning)
	if err != nil {
		return err
	}
	fault := Fault{At: time.Now()}
	if err := p.Pause(); err != nil {
		return err
	}
	if err := s.awaitTakeover(ctx, owners); err != nil {
		return errors.Join(err, p.Resume())
	}
	fault.Until = time.Now()
	s.fault(fault)
	s.t.Logf("stopped %s for %v while %d executions ran", p.Name(), fault.Until.Sub(fault.At).Round(time.Millisecond), running)
	return p.Resume()
}

// awaitOwners returns the owners with a lease once there are n of them.
func (s *system) awaitOwners(ctx context.Context, n int) (owners []string, err error) {
	err = poll(ctx, func() error {
		err := s.db.QueryRow(ctx, `SELECT coalesce(array_agg(id::text), '{}') FROM executor.owners WHERE lease_until > now()`).Scan(&owners)
		if err == nil && len(owners) != n {
			err = fmt.Errorf("%d executors have a lease, want %d", len(owners), n)
		}
		return err
	})
	return owners, err
}

// awaitTakeover returns when one of the owners has lost its lease and has no execution left.
func (s *system) awaitTakeover(ctx context.Context, owners []string) error {
	return poll(ctx, func() error {
		var lost, held int
		err := s.db.QueryRow(ctx, `
			WITH lost AS (SELECT id FROM unnest($1::uuid[]) AS i (id)
				WHERE NOT EXISTS (SELECT FROM executor.owners o WHERE o.id = i.id AND o.lease_until > now()))
			SELECT (SELECT count(*) FROM lost), (SELECT count(*) FROM executor.live l WHERE l.owner IN (SELECT id FROM lost))`,
			owners).Scan(&lost, &held)
		if err == nil && (lost == 0 || held > 0) {
			err = fmt.Errorf("%d executors have lost their lease, %d executions are still theirs", lost, held)
		}
		return err
	})
}

// poll calls try until it succeeds; its last error is returned when ctx ends before.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if waitErr := wait(ctx, 20*time.Millisecond); waitErr != nil {
			return errors.Join(err, waitErr)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
