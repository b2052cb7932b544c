package catalog_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// onlooker follows a watch of workflows as a dashboard does.
type onlooker struct {
	t      *testing.T
	stream workflowv1.WorkflowCatalogService_WatchWorkflowsClient
	last   *workflowv1.WatchWorkflowsResponse
	tokens []string // of each message
}

// look begins a watch and takes its first message.
func look(t *testing.T, ctx context.Context, r *replica, token string) *onlooker {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	stream, err := r.workflows().WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{ResumeToken: token})
	if err != nil {
		t.Fatal(err)
	}
	o := &onlooker{t: t, stream: stream}
	if first := o.next(); first.GetChange() != nil || first.GetResumeToken() == "" {
		t.Fatalf("first message: got %v, want a token alone", first)
	}
	return o
}

func (o *onlooker) next() *workflowv1.WatchWorkflowsResponse {
	o.t.Helper()
	msg, err := o.stream.Recv()
	if err != nil {
		o.t.Fatal(err)
	}
	o.last = msg
	o.tokens = append(o.tokens, msg.GetResumeToken())
	return msg
}

// changes takes n changes and shows them as `title revision state`, or as gone.
func (o *onlooker) changes(n int) []string {
	o.t.Helper()
	var out []string
	for len(out) < n {
		msg := o.next()
		switch w := msg.GetWorkflow(); {
		case w != nil:
			out = append(out, fmt.Sprint(w.GetTitle(), " ", w.GetRevision(), " ", w.GetState()))
		case msg.GetDeletedId() != "":
			out = append(out, "gone")
		}
	}
	return out
}

func TestService_WatchWorkflows(t *testing.T) {
	t.Parallel()
	s, a := started(t)
	b := s.start(t)
	ctx, client := s.owner(t), a.workflows()
	globex := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"})
	onA, onB, theirs := look(t, ctx, a, ""), look(t, ctx, b, ""), look(t, globex, a, "")

	w := a.create(t, ctx, "First")
	a.create(t, globex, "Theirs")
	call := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	call(client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: "Second", Description: "why"}}))
	call(client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: w.GetId(), Name: "before"}))
	draft := simple(t, "Third")
	call(client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: draft}))
	want := []string{"First 1 ACTIVE", "Second 2 ACTIVE", "Second 2 ACTIVE", "Second 2 ACTIVE"}
	for name, o := range map[string]*onlooker{"a": onA, "b": onB} {
		if diff := cmp.Diff(want, o.changes(4)); diff != "" {
			t.Errorf("on %s (-want +got):\n%s", name, diff)
		}
		basic := listed(t, ctx, a, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_BASIC})[0]
		if diff := cmp.Diff(basic, o.last.GetWorkflow(), protocmp.Transform()); diff != "" {
			t.Errorf("on %s (-listed +watched):\n%s", name, diff)
		}
		if got := o.last.GetWorkflow(); got.GetLastBackup().GetName() != "before" || got.GetDraft() == nil || got.GetEtag() == w.GetEtag() {
			t.Errorf("on %s: got %v, want backup and draft", name, got)
		}
	}
	call(client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: w.GetId()}))
	call(client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId()}))
	last := []string{"Second 2 INACTIVE", "Second 2 DELETING", "gone"}
	if diff := cmp.Diff(last, onA.changes(3)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
	if onA.last.GetDeletedId() != w.GetId() {
		t.Errorf("deleted: got %q, want %q", onA.last.GetDeletedId(), w.GetId())
	}
	if got := theirs.changes(1); got[0] != "Theirs 1 ACTIVE" {
		t.Errorf("the other tenant: got %v, want its own change", got)
	}

	// What is gone is told as gone, from wherever one goes on and whoever answers: a process that remembers, or one that never knew.
	c := s.start(t)
	for name, r := range map[string]*replica{"a": a, "c": c} {
		for i, token := range onA.tokens[:len(onA.tokens)-1] {
			if got := look(t, ctx, r, token).changes(1); got[0] != "gone" && r == c {
				t.Errorf("from %d on %s: got %v, want gone", i, name, got)
			}
		}
		end := look(t, ctx, r, onA.tokens[len(onA.tokens)-1])
		next := a.create(t, ctx, "Next on "+name)
		for end.last.GetWorkflow().GetId() != next.GetId() {
			if got := end.changes(1); got[0] == "gone" {
				t.Errorf("from the end on %s: got %v again", name, got)
			}
		}
	}

	for name, token := range map[string]string{
		"another_tenants": theirs.tokens[0], "garbage": "resume!", "made_up": "AAAAAAAAAAAAAAAAAAAAAA", "a_definition_watchs": s.watch(t, a, "").next().GetResumeToken(),
	} {
		stream, err := client.WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{ResumeToken: token})
		if err == nil {
			_, err = stream.Recv()
		}
		if f := faultOf(t, err, fault.KindOutOfRange, "RESUME_TOKEN"); !strings.Contains(f.Message, "list the workflows") {
			t.Errorf("%s: got %q, want what to do", name, f.Message)
		}
	}
	stream, err := client.WatchWorkflows(s.as(t, auth.Principal{Tenant: "acme", Subject: "agent"}), &workflowv1.WatchWorkflowsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")

	b.stop()
	for err = nil; err == nil; {
		_, err = onB.stream.Recv()
	}
	wantFault(t, err, fault.KindUnavailable, "SHUTTING_DOWN")
}

// TestService_WatchWorkflows_after_the_retention has a watcher come back after the changes that it missed were dropped.
func TestService_WatchWorkflows_after_the_retention(t *testing.T) {
	t.Parallel()
	s, a := started(t)
	ctx := s.owner(t)
	o := look(t, ctx, a, "")
	a.create(t, ctx, "First")
	a.create(t, ctx, "Second")
	o.changes(2)
	pool := pgtest.Open(t, s.deps.Settings.DatabaseURL.Reveal(), "catalog")
	const prune = `WITH dropped AS (DELETE FROM changes RETURNING seq) UPDATE feed SET pruned_through = (SELECT max(seq) FROM dropped)`
	if _, err := pool.Exec(t.Context(), prune); err != nil {
		t.Fatal(err)
	}
	b := s.start(t)
	stream, err := b.workflows().WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{ResumeToken: o.tokens[1]})
	if err == nil {
		_, err = stream.Recv()
	}
	wantFault(t, err, fault.KindOutOfRange, "RESUME_TOKEN")
	look(t, ctx, b, o.tokens[2])
}

// statementCounter stands between a service and its database, and counts the statements that pass.
type statementCounter struct{ n atomic.Int64 }

// between returns the URL of the database by way of the counter.
func (c *statementCounter) between(t *testing.T, to config.Secret) config.Secret {
	t.Helper()
	u, err := url.Parse(to.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	server := filepath.Join(query.Get("host"), ".s.PGSQL.5432")
	dir, err := os.MkdirTemp("", "uc-count") // t.TempDir is longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(client, server)
		}
	}()
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	return config.Secret(u.String())
}

func (c *statementCounter) serve(client net.Conn, server string) {
	defer client.Close()
	backend, err := net.Dial("unix", server)
	if err != nil {
		return
	}
	defer backend.Close()
	go func() {
		_, _ = io.Copy(client, backend)
		_ = client.Close()
	}()
	// The first message has no type, all others have one, and a length that counts itself.
	header := make([]byte, 5)
	for first := true; ; first = false {
		h := header
		if first {
			h = header[1:]
		}
		if _, err := io.ReadFull(client, h); err != nil {
			return
		}
		if !first && header[0] == 'E' { // Execute
			c.n.Add(1)
		}
		if _, err := backend.Write(h); err != nil {
			return
		}
		if _, err := io.CopyN(backend, client, int64(binary.BigEndian.Uint32(header[1:]))-4); err != nil {
			return
		}
	}
}

// TestService_WatchWorkflows_many_watchers counts the statements that a number of changes cost with one watcher and with a thousand.
func TestService_WatchWorkflows_many_watchers(t *testing.T) {
	const changes = 40
	cost := func(watchers int) int64 {
		counter := &statementCounter{}
		s := newSystem(t)
		pool := pgtest.Open(t, s.deps.Settings.DatabaseURL.Reveal(), "catalog")
		s.deps.Settings.DatabaseURL = counter.between(t, s.deps.Settings.DatabaseURL)
		s.startOwners()
		r := s.start(t)
		addTenants(t, r)
		if _, err := pool.Exec(t.Context(), `UPDATE tenants SET quota_streams = 10000, quota_requests_per_second = 10000`); err != nil {
			t.Fatal(err)
		}
		ctx := s.owner(t)
		w := r.create(t, ctx, "First")
		var group sync.WaitGroup
		for range watchers {
			o := look(t, ctx, r, "")
			group.Go(func() { o.changes(changes) })
		}
		begin, before := time.Now(), counter.n.Load()
		for i := range changes {
			var err error
			if i%2 == 0 {
				_, err = r.workflows().DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: w.GetId()})
			} else {
				_, err = r.workflows().ActivateWorkflow(ctx, &workflowv1.ActivateWorkflowRequest{Id: w.GetId()})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		group.Wait()
		took, statements := time.Since(begin), counter.n.Load()-before
		t.Logf("%d watchers: %d changes took %v and %d statements", watchers, changes, took, statements)
		return statements
	}
	one, many := cost(1), cost(1000)
	// Both have polls that go by the clock, and a look at the caller's permissions each second. A poll is two statements: how to plan, and what.
	if one < changes || many > one+4*changes {
		t.Errorf("statements: %d with one watcher, %d with a thousand; want about the same", one, many)
	}
}
