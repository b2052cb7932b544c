package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"workflow.uniconnect/test/stack"
)

// commandLine runs wfctl as a user of development would.
type commandLine struct {
	binary string
	env    []string
	dir    string
}

type output struct {
	out, err string
	code     int
}

func newCommandLine(t *testing.T, s *system) *commandLine {
	t.Helper()
	bin, err := stack.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &commandLine{
		binary: filepath.Join(bin, "wfctl"), dir: t.TempDir(),
		env: []string{"PATH=/usr/bin:/bin", "UC_SERVER=" + s.RESTURL, "UC_DATA_DIR=" + s.Dir},
	}
}

func (c *commandLine) try(ctx context.Context, args ...string) output {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, c.binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.env, c.dir, &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return output{err: err.Error(), code: -1}
	}
	return output{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// run wants an exit code and returns what was printed.
func (c *commandLine) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	got := c.try(t.Context(), args...)
	if got.code != code {
		t.Fatalf("wfctl %v: exit code %d, want %d\n%s%s", args, got.code, code, got.out, got.err)
	}
	return got.out + got.err
}

// says wants a text in what is printed.
func (c *commandLine) says(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	if got := c.run(t, code, args...); !strings.Contains(got, want) {
		t.Errorf("wfctl %v: got\n%swant %q", args, got, want)
	}
}

func (c *commandLine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The life of a workflow that is kept as a file.
func TestWfctl(t *testing.T) {
	s := newSystem(t, stack.Options{Workflowd: true})
	c := newCommandLine(t, s)
	const title = "As code: näxt \"one\""
	p, call := path(), unique("call")
	text := fmt.Sprintf(`# kept in git
title: 'As code: näxt "one"'
trigger:
  event:
    eventType: call.segment_ended
    filter: {expression: event.data.call_id == %q}
steps:
  - id: send
    action:
      type: http.request
      params: {method: POST, url: %s, body: {said: "${event.data.said}"}}
  - id: rest
    delay: {duration: 0.2s}
`, call, s.target.URL+p)
	c.write(t, "flow.yaml", text)

	c.says(t, 0, "valid", "validate", "-f", "flow.yaml")
	c.says(t, 1, "is new", "diff", "-f", "flow.yaml")
	c.says(t, 0, "created (dry run)", "apply", "-f", "flow.yaml", "--dry-run")
	c.says(t, 1, "there is no workflow", "get", "workflow", title)
	c.says(t, 0, "created", "apply", "-f", "flow.yaml")
	c.says(t, 0, "unchanged", "apply", "-f", "flow.yaml")
	c.says(t, 0, "", "diff", "-f", "flow.yaml")
	c.says(t, 1, "exists already", "create", "-f", "flow.yaml")
	c.says(t, 0, "ACTIVE", "get", "workflow", title)
	c.says(t, 0, "http.request", "describe", "workflow", title)

	c.says(t, 0, "SUCCEEDED after", "run", title, "--input", `{"said": "by hand"}`, "--wait")
	c.says(t, 0, "manual owner@acme.test", "executions", title)
	c.says(t, 0, "stored as", "publish-event", "call.segment_ended", "--data", fmt.Sprintf(`{"call_id": %q, "said": "by event"}`, call), "--id", unique("id"))
	calls := s.awaitCall(t, p, 2)
	for i, want := range []string{"by hand", "by event"} {
		var body struct{ Said string }
		if err := json.Unmarshal(calls[i].Body, &body); err != nil || body.Said != want {
			t.Errorf("call %d: got %s, want %q", i, calls[i].Body, want)
		}
	}
	stack.Eventually(t, soon, func(ctx context.Context) error {
		if got := c.try(ctx, "executions", title); strings.Count(got.out, "SUCCEEDED") != 2 {
			return errors.New(got.out + got.err)
		}
		return nil
	})
	c.says(t, 0, "SUCCEEDED after", "logs", title, "-f")

	// Back up, change, see what changed, go back.
	c.says(t, 0, "of revision 1 made", "backup", title, "--name", "first")
	c.write(t, "flow.yaml", strings.Replace(text, "0.2s", "0.1s", 1)+"  - id: more\n    stop: {}\nstate: INACTIVE\n")
	c.says(t, 1, "+ step more at steps[2]", "diff", "-f", "flow.yaml")
	c.says(t, 0, "INACTIVE", "apply", "-f", "flow.yaml", "--dry-run")
	c.says(t, 0, "configured", "apply", "-f", "flow.yaml")
	c.says(t, 0, "INACTIVE", "get", "workflow", title)
	before := c.run(t, 0, "export", title)
	c.says(t, 0, "revision 3", "reset", title)
	c.says(t, 0, "activated", "activate", title)
	c.write(t, "export.yaml", c.run(t, 0, "export", title))
	c.write(t, "flow.yaml", text)
	c.says(t, 0, "unchanged", "apply", "-f", "flow.yaml", "-f", "export.yaml")
	c.write(t, "export.json", c.run(t, 0, "export", title, "-o", "json"))
	c.says(t, 0, "unchanged", "apply", "-f", "export.json")
	if again := c.run(t, 0, "export", title, "--revision", "2"); again != strings.Replace(before, "state: INACTIVE\n", "", 1) {
		t.Errorf("revision 2 is not what was live then:\n%s\n%s", again, before)
	}
	c.says(t, 0, "revision 3", "restore", title, "first") // which it is already
	c.says(t, 0, "INACTIVE", "duplicate", title, "--title", "Another")
	c.says(t, 0, "ImportWorkflow", "get", "audit", "--filter", `actor = "owner@acme.test"`)

	// Refusals.
	c.write(t, "wrong.yaml", "title: x\ntrigger:\n  event: {eventType: call.endet}\nsteps:\n  - id: a\n    action: {type: http.reqest}\n")
	c.says(t, 1, "trigger.event.eventType: ", "apply", "-f", "wrong.yaml")
	c.says(t, 1, "steps[0].action.type: ", "validate", "-f", "wrong.yaml")
	c.write(t, "wrong.yaml", "title: x\n\ttrigger: y\n")
	c.says(t, 1, "(DOCUMENT)", "apply", "-f", "wrong.yaml")
	c.says(t, 1, "permission workflow.edit is missing (PERMISSION_MISSING)", "apply", "-f", "flow.yaml", "--user", viewer)
	c.says(t, 2, "--yes", "delete", title)
	c.says(t, 3, "no answer", "get", "workflows", "--server", "http://127.0.0.1:1")

	c.says(t, 0, "deleted", "delete", "Another", "--yes", "--wait")
	c.says(t, 0, "deleted", "delete", "workflow", title, "--yes", "--wait")
	c.says(t, 1, "there is no workflow", "executions", title)
	c.says(t, 0, "created", "apply", "-f", "flow.yaml")
}

// What wfctl watch shows while others work, over a restart of the system.
func TestWfctl_watch(t *testing.T) {
	s := newSystem(t, stack.Options{Workflowd: true})
	c := newCommandLine(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, "watch", "-o", "json")
	cmd.Env = c.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(out)
	next := func(want string) {
		t.Helper()
		for {
			var line struct {
				Workflow  struct{ Title string }
				DeletedID string
			}
			if err := lines.Decode(&line); err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if line.Workflow.Title == want || line.DeletedID == want {
				return
			}
		}
	}
	// A watch begins at the present, so its beginning is found by a change that it shows.
	c.write(t, "flow.yaml", "title: Watched\ntrigger: {manual: {}}\n")
	began := make(chan struct{})
	go func() {
		defer close(began)
		next("Watched")
	}()
	c.run(t, 0, "apply", "-f", "flow.yaml")
	stack.Eventually(t, soon, func(ctx context.Context) error {
		select {
		case <-began:
			return nil
		default:
			return errors.New("the watch shows nothing: " + c.try(ctx, "backup", "Watched").err)
		}
	})
	if err := s.Workflowd.Stop(stopPatience); err != nil {
		t.Fatal(err)
	}
	if err := s.Workflowd.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.db = s.Database(t)
	c.write(t, "after.yaml", "title: Afterwards\ntrigger: {manual: {}}\n")
	c.run(t, 0, "apply", "-f", "after.yaml")
	next("Afterwards")
	c.run(t, 0, "delete", "Afterwards", "--yes")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupting a watch is how it ends: %v", err)
	}
}
