package catalog_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// watcher follows a watch as trigger-scheduler does.
type watcher struct {
	t      *testing.T
	stream peerv1.DefinitionService_WatchDefinitionsClient
	known  map[string]*peerv1.Definition
	seen   []string // "title revision state" of each change
	token  string
	asOf   time.Time
}

func (s *system) watch(t *testing.T, r *replica, token string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(s.peer(t))
	t.Cleanup(cancel)
	stream, err := r.definitions().WatchDefinitions(ctx, &peerv1.WatchDefinitionsRequest{ResumeToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{t: t, stream: stream, known: make(map[string]*peerv1.Definition), token: token}
}

// next takes one message.
func (w *watcher) next() *peerv1.WatchDefinitionsResponse {
	w.t.Helper()
	msg, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range msg.GetDefinitions() {
		w.known[d.GetWorkflowId()] = d
		if msg.GetResumeToken() != "" && !msg.GetSnapshotComplete() {
			w.seen = append(w.seen, fmt.Sprintf("%s %d %s", d.GetTitle(), d.GetRevision(), d.GetState()))
		}
	}
	if at := msg.GetAsOfTime(); at != nil {
		if at.AsTime().Before(w.asOf) {
			w.t.Errorf("as of %v after %v", at.AsTime(), w.asOf)
		}
		w.asOf = at.AsTime()
	}
	w.token = msg.GetResumeToken()
	return msg
}

// snapshot takes messages to the end of the snapshot.
func (w *watcher) snapshot() {
	w.t.Helper()
	for !w.next().GetSnapshotComplete() {
	}
}

// changes takes messages until n changes were seen.
func (w *watcher) changes(n int) []string {
	w.t.Helper()
	for len(w.seen) < n {
		w.next()
	}
	return w.seen
}

func TestService_WatchDefinitions(t *testing.T) {
	t.Parallel()
	s, a := started(t)
	b := s.start(t)
	ctx := s.owner(t)

	empty := s.watch(t, a, "")
	if msg := empty.next(); !msg.GetSnapshotComplete() || len(msg.GetDefinitions()) != 0 || msg.GetResumeToken() == "" || msg.GetAsOfTime() == nil {
		t.Errorf("empty snapshot: got %v, want one message that completes it", msg)
	}
	first := a.create(t, ctx, "First")
	off := a.create(t, ctx, "Off")
	if _, err := a.workflows().DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: off.GetId()}); err != nil {
		t.Fatal(err)
	}
	want := []string{"First 1 ACTIVE", "Off 1 ACTIVE", "Off 1 INACTIVE"}
	if diff := cmp.Diff(want, empty.changes(3)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	d := empty.known[first.GetId()]
	if d.GetTenant() != "acme" || d.GetTrigger().GetEvent().GetEventType() != "call.ended" || !d.GetHasSteps() ||
		!d.GetEffectiveTime().AsTime().Equal(first.GetUpdateTime().AsTime()) || !d.GetActiveSinceTime().AsTime().Equal(first.GetUpdateTime().AsTime()) {
		t.Errorf("definition: got %v, want what was created", d)
	}
	resume := empty.token

	// Each replica hears of what the other commits.
	onB := s.watch(t, b, "")
	onB.snapshot()
	if len(onB.known) != 1 || onB.known[first.GetId()] == nil {
		t.Errorf("snapshot on b: got %v, want the ACTIVE one alone", onB.known)
	}
	begin := time.Now()
	second := a.create(t, ctx, "Second")
	third := b.create(t, ctx, "Third")
	want = []string{"Second 1 ACTIVE", "Third 1 ACTIVE"}
	if diff := cmp.Diff(want, onB.changes(2)); diff != "" {
		t.Errorf("changes on b (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, empty.changes(5)[3:]); diff != "" {
		t.Errorf("changes on a (-want +got):\n%s", diff)
	}
	if late := time.Since(begin); late > 3*time.Second {
		t.Errorf("the other replica heard after %v", late)
	}
	if got := onB.known[third.GetId()].GetEffectiveTime().AsTime(); got.Before(onB.known[second.GetId()].GetEffectiveTime().AsTime()) {
		t.Errorf("effective times are not in the order of the feed")
	}

	// A token of one replica is good on the other.
	resumed := s.watch(t, b, resume)
	if diff := cmp.Diff(want, resumed.changes(2)); diff != "" {
		t.Errorf("resumed on b (-want +got):\n%s", diff)
	}
	if resumed.next().GetSnapshotComplete() {
		t.Error("a watch that can be resumed began with a snapshot")
	}
	for _, token := range []string{"garbage", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"} {
		unknown := s.watch(t, b, token)
		unknown.snapshot()
		if len(unknown.known) != 3 {
			t.Errorf("token %q: got %d definitions, want a snapshot of 3", token, len(unknown.known))
		}
	}

	// Silence is never longer than 2 s, and says how current it is.
	for range 3 {
		begin, before := time.Now(), empty.asOf
		if msg := empty.next(); len(msg.GetDefinitions()) != 0 || msg.GetResumeToken() == "" {
			t.Errorf("heartbeat: got %v", msg)
		}
		if gap := time.Since(begin); gap > 2*time.Second || !empty.asOf.After(before) {
			t.Errorf("heartbeat after %v as of %v, want one within 2 s that is newer than %v", gap, empty.asOf, before)
		}
	}

	// A deletion is a change, and its definition starts nothing.
	if _, err := b.workflows().DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: first.GetId()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the deletion was heard", func() bool {
		empty.next()
		return empty.known[first.GetId()].GetState() == workflowv1.Workflow_DELETING
	})

	// A process that stops tells its watchers so.
	b.stop()
	for {
		_, err := onB.stream.Recv()
		if err == nil {
			continue
		}
		if fault.KindOf(err) != fault.KindUnavailable {
			t.Errorf("end of the watch: got %v, want UNAVAILABLE", err)
		}
		break
	}
}

// TestService_WatchDefinitions_from_before_the_process resumes from before the process began, which its hub does not remember.
func TestService_WatchDefinitions_from_before_the_process(t *testing.T) {
	t.Parallel()
	s, a := started(t)
	ctx := s.owner(t)
	w := s.watch(t, a, "")
	w.snapshot()
	token := w.token
	var want []string
	for i := range 20 {
		a.create(t, ctx, fmt.Sprint("w", i))
		want = append(want, fmt.Sprintf("w%d 1 ACTIVE", i))
	}
	b := s.start(t)
	resumed := s.watch(t, b, token)
	if diff := cmp.Diff(want, resumed.changes(20)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if resumed.asOf.IsZero() {
		resumed.next()
	}
	if resumed.asOf.IsZero() {
		t.Error("the watcher is never told that it misses nothing")
	}
}
