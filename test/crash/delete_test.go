package crash

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/test/remains"
	"workflow.uniconnect/test/stack"
)

// phase is a place at which a service dies in the middle of a deletion.
type phase struct {
	point  string
	victim func(*stack.Stack) *stack.Process
}

func catalog(s *stack.Stack) *stack.Process   { return s.Catalog }
func scheduler(s *stack.Stack) *stack.Process { return s.Schedulers[0] }
func executor(s *stack.Stack) *stack.Process  { return s.Executors[0] }

// waited is the phase after which the claim of the process that died is left to end by itself. After the others it is made to end at
// once, which is all that a test can save.
const waited = "catalog.delete.claimed"

// phases are those of a deletion, in the order in which it goes through them.
func phases() []phase {
	return []phase{
		{"catalog.delete.marked", catalog},
		{waited, catalog},
		{"scheduler.finalize.done", scheduler},
		{"catalog.delete.trigger-scheduler.done", catalog},
		{"executor.finalize.tombstone", executor},
		{"executor.finalize.live", executor},
		{"executor.finalize.executions", executor},
		{"executor.finalize.starts", executor},
		{"executor.finalize.done", executor},
		{"catalog.delete.executor.done", catalog},
		{"catalog.delete.removing", catalog},
		{"catalog.delete.removed", catalog},
	}
}

const (
	// dieWithin is how long it may take until a process comes to the place at which it dies.
	dieWithin = 20 * time.Second
	// goneWithin is how long a deletion may take after the process that died is back: a claim, and as much again for a busy machine.
	goneWithin = 40 * time.Second
)

// TestDelete kills a service at every phase of a deletion. Whatever the phase, the deletion finishes once the service is back. Then no table
// and no stream holds the id but for tombstones and the audit, and nothing that comes late brings anything back.
func TestDelete(t *testing.T) {
	r := newRemovals(t)
	for i, p := range phases() {
		t.Run(p.point, func(t *testing.T) {
			victim := p.victim(r.stack)
			r.begin(t, victim, p.point)
			w := r.grow(t, fmt.Sprint("Doomed ", i))
			r.wantAll(t, w)
			r.delete(t, w)
			r.awaitKilled(t, victim)
			if victim == r.stack.Catalog && p.point != waited {
				r.endClaims(t)
			}
			if err := victim.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.awaitGone(t, w)
			r.wantNothing(t, w)
		})
	}
	if t.Failed() {
		return
	}
	t.Run("what_comes_late", func(t *testing.T) { late(t, r) })
	t.Run("search_can_fail", func(t *testing.T) { searchCanFail(t, r) })
}

// begin has a process begin a life that ends at a place.
func (r *removals) begin(t *testing.T, p *stack.Process, point string) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.RestartDoomed(t.Context(), point); err != nil {
		t.Fatal(err)
	}
}

func (r *removals) awaitKilled(t *testing.T, p *stack.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), dieWithin)
	defer cancel()
	if err := p.AwaitKilled(ctx); err != nil {
		t.Fatal(err)
	}
}

// endClaims lets the claims of processes that are dead end.
func (r *removals) endClaims(t *testing.T) {
	t.Helper()
	if _, err := r.db.Exec(t.Context(), `UPDATE catalog.workflows SET finalize_at = clock_timestamp() WHERE state = 3`); err != nil {
		t.Fatal(err)
	}
}

// awaitGone returns when nobody finds the workflow any more.
func (r *removals) awaitGone(t *testing.T, w *doomed) {
	t.Helper()
	stack.Eventually(t, goneWithin, func(ctx context.Context) error {
		res, err := r.do(ctx, http.MethodGet, "/v1/workflows/"+w.ID, "", nil)
		if err == nil && res.Status != http.StatusNotFound {
			err = fmt.Errorf("get answers %d", res.Status)
		}
		return err
	})
}

// search returns every place that holds an id.
func (r *removals) search(t *testing.T, id string) remains.Places {
	t.Helper()
	found, err := remains.Rows(t.Context(), r.db, id)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := remains.Messages(t.Context(), r.js, id)
	if err != nil {
		t.Fatal(err)
	}
	found.Add(messages)
	return found
}

// wantAll holds that a workflow has something wherever a workflow can: that it is missing there afterwards would prove nothing otherwise.
func (r *removals) wantAll(t *testing.T, w *doomed) {
	t.Helper()
	found := r.search(t, w.ID)
	for _, place := range []string{
		"catalog.workflows", "catalog.revisions", "catalog.changes", "catalog.requests", "catalog.backups", "catalog.drafts",
		"executor.starts", "executor.live", "executor.executions",
	} {
		if found[place] == 0 {
			t.Errorf("before its deletion nothing of the workflow is in %s", place)
		}
	}
}

// wantNothing holds that only tombstones and the audit know the workflow, and nobody its executions.
func (r *removals) wantNothing(t *testing.T, w *doomed) {
	t.Helper()
	found := r.search(t, w.ID)
	if found["catalog.audit_entries"] == 0 {
		t.Error("the audit does not speak of the deleted workflow")
	}
	delete(found, "catalog.audit_entries")
	if diff := cmp.Diff(remains.Places{"catalog.tombstones": 1, "executor.tombstones": 1}, found); diff != "" {
		t.Errorf("what holds the id of %q (-want +got):\n%s", w.title, diff)
	}
	for _, id := range w.executions {
		if found := r.search(t, id); len(found) > 0 {
			t.Errorf("an execution of %q is still in %v", w.title, found.Names())
		}
	}
}

// late lets everything come that could bring a workflow back: an event that its trigger matched, every old event once more, the answer to a
// call that was under way, retries, a start that was sent before, and requests that speak of it.
func late(t *testing.T, r *removals) {
	gone, before := r.all, r.calls()
	close(r.release)
	witness := r.grow(t, "Witness")
	for _, w := range append(gone[:len(gone):len(gone)], witness) {
		r.publish(t, w, "end")
	}
	r.redeliver(t)
	r.awaitExecutions(t, witness, len(modes())+2) // one for each event, and the one by hand
	for _, w := range gone {
		r.startAgain(t, w)
		r.askAgain(t, w)
	}
	after := r.calls()
	for _, w := range gone {
		r.wantNothing(t, w)
		for _, mode := range modes() {
			// The call that was just being made when its execution was taken away may have come.
			if path := w.path(mode); after[path] > before[path]+1 {
				t.Errorf("%s was called %d times after its workflow was gone", path, after[path]-before[path])
			}
		}
	}
}

// searchCanFail puts things where a service might have left them, and wants each to be found.
func searchCanFail(t *testing.T, r *removals) {
	w := r.all[0]
	id := uuid.MustParse(w.ID)
	ctx := t.Context()
	row := func(sql string, args ...any) func() error {
		return func() error {
			_, err := r.db.Exec(ctx, sql, args...)
			return err
		}
	}
	bucket, err := r.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "left"})
	if err != nil {
		t.Fatal(err)
	}
	for place, leave := range map[string]func() error{
		"executor.starts": row(`
			INSERT INTO executor.starts (tenant, key, workflow_id, outcome, execution_id, published_at, expires_at, purge_at)
			VALUES ('acme', $1, gen_random_uuid(), 1, gen_random_uuid(), now(), now(), now())`, id[:]),
		"catalog.requests": row(`
			INSERT INTO catalog.requests (tenant, request_id, method, hash, answer)
			VALUES ('acme', 'left', 'X', '', jsonb_build_object('deep', jsonb_build_array($1::text)))`, w.ID),
		"scheduler.dead_letters": row(`
			INSERT INTO scheduler.dead_letters (tenant, id, stream_seq, publish_time, reason, message, event_id, subject, headers, body)
			VALUES ('acme', gen_random_uuid(), 1, now(), 'X', '', '', '', '{}', convert_to($1, 'UTF8'))`, strings.ToUpper(w.ID)),
		"stream KV_left": func() error { _, err := bucket.Put(ctx, "x", id[:]); return err },
		"stream UNICONNECT_EVENTS": func() error {
			_, err := r.js.Publish(ctx, "uniconnect.events.acme.custom.left.over", fmt.Appendf(nil, `{"left":%q}`, w.ID))
			return err
		},
	} {
		if err := leave(); err != nil {
			t.Fatalf("leave something in %s: %v", place, err)
		}
		if found := r.search(t, w.ID); found[place] != 1 {
			t.Errorf("what was left in %s is not found: %v", place, found)
		}
	}
}
