package crash

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"workflow.uniconnect/test/stack"
	"workflow.uniconnect/test/target"
)

// herd is how many executions the zombie has: enough that at least one of them would do harm without a fence.
const herd = 20

// An executor that slept through its lease wakes up with an answer in its hands while its successor is two steps ahead. It must record
// nothing and call nobody.
func TestZombie(t *testing.T) {
	s := zombie(t, "")
	v := Check(s.accounts())
	report(t, v)
	for _, step := range []string{"two", "three"} {
		if got := len(s.calls(step)); got != herd {
			t.Errorf("step %s was called %d times for %d executions", step, got, herd)
		}
	}
}

// The same without the check of the epoch must be noticed, else the test above proves nothing.
func TestZombie_withoutFence(t *testing.T) {
	binary, err := stack.BuildNoFence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := zombie(t, binary)
	v := Check(s.accounts())
	if len(v.Violations) == 0 {
		t.Errorf("an executor without fence slept through its lease and woke up, and no violation was found in %d calls", len(s.target.Calls()))
	}
	for i, text := range v.Violations {
		if i < 5 {
			t.Log("found, as it should be: " + text)
		}
	}
}

// zombie lets an executor sleep while it is inside the first call of its executions. The other one, started only then, takes over, does
// the first two steps anew and is inside the third when the zombie wakes up and gets its answers. Then everything settles.
func zombie(t *testing.T, binary string) *system {
	firstAnswers, lastAnswers := make(chan struct{}), make(chan struct{}) // closed when the target may answer
	var mu sync.Mutex
	seen := make(map[string]bool)
	s := newSystem(t, stack.Options{HeldBack: 1, ExecutorBinary: binary}, func(c *target.Call) target.Answer {
		mu.Lock()
		defer mu.Unlock()
		first := !seen[c.Header.Get("X-Execution")]
		seen[c.Header.Get("X-Execution")] = true
		switch {
		case c.Path == "/one" && first:
			return target.Answer{Hold: firstAnswers}
		case c.Path == "/three":
			return target.Answer{Hold: lastAnswers}
		}
		return target.Answer{}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	await := func(step string, n int) {
		t.Helper()
		if got, err := s.target.Await(ctx, n, func(c *target.Call) bool { return c.Path == "/"+step }); err != nil {
			t.Fatalf("%d calls of step %s, want %d: %v", len(got), step, n, err)
		}
	}
	for i := range herd {
		if err := s.publish(ctx, fmt.Sprintf("event-%06d", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	await("one", herd)
	sleeper, successor := s.stack.Executors[0], s.stack.Executors[1]
	fault := Fault{At: time.Now()}
	if err := sleeper.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := successor.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	await("one", 2*herd)
	await("three", herd)
	// The answers are on the wire when the sleeper wakes up.
	close(firstAnswers)
	fault.Until = time.Now()
	s.fault(fault)
	if err := sleeper.Resume(); err != nil {
		t.Fatal(err)
	}
	s.awaitWoken(ctx, sleeper)
	close(lastAnswers)
	s.settle(settleTime)
	return s
}

func (s *system) calls(step string) []*target.Call {
	var all []*target.Call
	for _, c := range s.target.Calls() {
		if c.Path == "/"+step {
			all = append(all, c)
		}
	}
	return all
}

// awaitWoken returns when the woken executor has a new lease, which it takes only after it has let go of all that it held.
func (s *system) awaitWoken(ctx context.Context, p *stack.Process) {
	s.t.Helper()
	stack.Eventually(s.t, 30*time.Second, func(context.Context) error {
		var valid int
		err := s.db.QueryRow(ctx, `SELECT count(*) FROM executor.owners WHERE lease_until > now()`).Scan(&valid)
		if err == nil && valid < 2 {
			err = fmt.Errorf("%s has no lease yet", p.Name())
		}
		return err
	})
}
