package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestService_gate closes and opens a tenant's gate over and over before the news of it comes: what is published while it is closed starts
// nothing, then or later, and nothing else is lost.
func TestService_gate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	r := b.start()
	b.catalog.open("acme", false)
	b.eventually("the gate is closed", func() bool { return r.index.ClosedAt("acme", time.Now()) })
	b.catalog.keep()
	const rounds = 20
	for i := range rounds {
		b.catalog.open("acme", true)
		b.publish(fmt.Sprintf("open-%d", i), `{}`)
		b.catalog.open("acme", false)
		b.publish(fmt.Sprintf("closed-%d", i), `{}`)
	}
	opened := func(runs map[string]int) bool {
		for i := range rounds {
			if runs[fmt.Sprintf("w/open-%d", i)] == 0 {
				return false
			}
		}
		return true
	}
	b.drained() // all of it was handled while the gate was thought to be closed
	b.executor.mu.Lock()
	early := len(b.executor.runs)
	b.executor.mu.Unlock()
	if early != 0 {
		t.Errorf("%d events started something before the gate was heard to open", early)
	}
	b.catalog.release()
	b.executor.await(t, "what was published while the gate was open", opened)
	// A replica that comes now knows the whole history.
	b.start()
	b.catalog.open("acme", true)
	b.publish("last", `{}`)
	b.executor.await(t, "the last", func(runs map[string]int) bool {
		for run := range runs {
			if strings.HasPrefix(run, "w/closed") {
				t.Errorf("%s although the gate was closed", run)
			}
		}
		return runs["w/last"] == 1
	})
	b.executor.once(t)
}
