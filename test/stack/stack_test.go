package stack_test

import (
	"net/http"
	"testing"
	"time"

	"workflow.uniconnect/test/stack"
)

func TestStack_deployments(t *testing.T) {
	for name, opts := range map[string]stack.Options{"workflowd": {Workflowd: true}, "separate": {Schedulers: 2, Executors: 2}} {
		t.Run(name, func(t *testing.T) {
			s := stack.New(t, opts)
			if err := s.AwaitSeeds(t.Context()); err != nil {
				t.Fatal(err)
			}
			var me struct{ Tenant, User string }
			if err := s.User(t, "owner@globex.test").Call(t.Context(), http.MethodGet, "/v1/access/me", nil, &me); err != nil {
				t.Fatal(err)
			}
			if me.Tenant != "globex" {
				t.Errorf("the gateway says that owner@globex.test is of tenant %q", me.Tenant)
			}
			if err := s.Database(t).Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProcess_lives(t *testing.T) {
	s := stack.New(t, stack.Options{})
	p := s.Executors[0]
	first := p.PID()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := p.PID(); got != 0 {
		t.Fatalf("the killed process has the id %d", got)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.PID(); got == 0 || got == first {
		t.Errorf("the second life has the process id %d, the first had %d", got, first)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 300 * time.Millisecond}
	if res, err := client.Get(p.AdminURL() + "/livez"); err == nil {
		_ = res.Body.Close()
		t.Error("a paused process answers")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}
