package e2e

import (
	"bytes"
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"workflow.uniconnect/test/stack"
)

const stopPatience = 30 * time.Second

// A workflowd that was killed leaves a data directory that the next start uses: what was waiting goes on, what was stored is there.
func TestWorkflowd_killed(t *testing.T) {
	s := newSystem(t, stack.Options{Workflowd: true})
	p, call := path(), unique("call")
	w := s.create(t, onCall(call,
		s.post("before", p, object{}), object{"id": "rest", "delay": object{"duration": "2s"}}, s.post("after", p+"after", object{}),
	))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitCall(t, p, 1)
	s.awaitState(t, w.ID, "WAITING")
	if err := s.Workflowd.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Workflowd.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.db = s.Database(t)
	if e := s.awaitEnd(t, w.ID, 1)[0]; e.State != "SUCCEEDED" {
		t.Errorf("the execution that waited is %s: %+v", e.State, e.Error)
	}
	if before, after := s.counted(p), s.counted(p+"after"); before != 1 || after != 1 {
		t.Errorf("the steps before and after the wait were called %d and %d times, want once each", before, after)
	}
	// Seeds are put in place once.
	var list struct{ Workflows []workflowView }
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/workflows?pageSize=200", nil, &list); err != nil {
		t.Fatal(err)
	}
	titles := make(map[string]int)
	for _, w := range list.Workflows {
		titles[w.Title]++
	}
	if titles["On Call Ended"] != 1 || titles[w.Title] != 1 {
		t.Errorf("workflows after the restart: %v", titles)
	}
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitCall(t, p, 2)
}

// A workflowd that is asked to end finishes what is under way and loses nothing.
func TestWorkflowd_stops(t *testing.T) {
	s := newSystem(t, stack.Options{Workflowd: true})
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("before", p, object{}), object{"id": "rest", "delay": object{"duration": "1s"}}, s.post("after", p+"after", object{})))
	const events = 20
	for range events {
		s.publish(t, "call.segment_ended", object{"call_id": call})
	}
	s.awaitCall(t, p, 1)
	if err := s.Workflowd.Stop(stopPatience); err != nil {
		t.Fatal(err)
	}
	if err := s.Workflowd.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.awaitEnd(t, w.ID, events) {
		if e.State != "SUCCEEDED" {
			t.Errorf("execution %s is %s: %+v", e.ID, e.State, e.Error)
		}
	}
	if before, after := s.counted(p), s.counted(p+"after"); before != events || after != events {
		t.Errorf("the two steps were called %d and %d times for %d events", before, after, events)
	}
}

// The development login of the command line.
func TestWorkflowd_token(t *testing.T) {
	s := newSystem(t, stack.Options{Workflowd: true})
	bin, err := stack.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (stdout, stderr string, err error) {
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "workflowd"), args...)
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err = cmd.Run()
		return out.String(), errOut.String(), err
	}
	out, errOut, err := run("token", "--user", owner, "--data-dir", s.Dir)
	if err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	var me struct {
		Tenant, User string
		Permissions  []string
	}
	if err := s.ClientWithToken(strings.TrimSpace(out)).Call(t.Context(), http.MethodGet, "/v1/access/me", nil, &me); err != nil {
		t.Fatal(err)
	}
	if me.Tenant != "acme" || me.User != owner || len(me.Permissions) == 0 {
		t.Errorf("the token is of %+v, want %s of acme with permissions", me, owner)
	}
	if _, errOut, err := run("token", "--user", "nobody@acme.test", "--data-dir", s.Dir); err == nil || !strings.Contains(errOut, "nobody@acme.test") {
		t.Errorf("a token of an unknown user: %v, %s", err, errOut)
	}
}

func (s *system) awaitState(t *testing.T, workflow, state string) {
	t.Helper()
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct{ Executions []executionView }
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/workflows/"+workflow+"/executions", nil, &list); err != nil {
			return err
		}
		for _, e := range list.Executions {
			if e.State != state {
				return &stateError{e.ID, e.State, state}
			}
		}
		if len(list.Executions) == 0 {
			return &stateError{"of workflow " + workflow, "not there", state}
		}
		return nil
	})
}

type stateError struct{ execution, got, want string }

func (e *stateError) Error() string {
	return "execution " + e.execution + " is " + e.got + ", want " + e.want
}
