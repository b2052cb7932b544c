package wfctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/services/wfctl/internal/command"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// write makes a file with a document and returns its directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRun_golden compares what command lines leave with the golden files; write them anew with UPDATE_GOLDEN=1.
func TestRun_golden(t *testing.T) {
	dir := write(t, map[string]string{"a-new.yaml": "new", "b-changed.yml": "changed", "c-same.json": "same", "d-wrong.yaml": "wrong", "notes.txt": "x", "sub/e.yaml": "new"})
	cases := map[string][]string{
		"get_workflows": {"get", "workflows"}, "get_workflows_wide": {"get", "wf", "-o", "wide"}, "get_workflow_yaml": {"get", "workflow", "Hello", "-o", "yaml"},
		"get_workflows_json": {"get", "workflows", "-o", "json", "--limit", "1"}, "get_revisions": {"get", "revisions", "Hello"}, "get_backups": {"get", "backups", helloID, "before"},
		"get_templates": {"get", "templates"}, "get_executions": {"get", "executions", "-o", "wide"}, "get_audit": {"get", "audit", "-o", "wide"},
		"get_eventtypes": {"get", "eventtypes", "call.ended"}, "get_actiontypes": {"get", "actiontypes"}, "get_nothing": {"get", "eventtypes", "call.endet"},
		"describe": {"describe", "workflow", "Hello"}, "executions": {"executions", "Hello"}, "not_found": {"describe", "Nobody"},
		"apply": {"apply", "-f", dir}, "apply_dry_run": {"apply", "-f", dir + "/b-changed.yml", "--dry-run"}, "apply_json": {"apply", "-f", dir + "/c-same.json", "-o", "json"},
		"diff": {"diff", "-f", dir}, "diff_same": {"diff", "-f", dir + "/c-same.json"}, "validate": {"validate", "-f", dir + "/a-new.yaml", "-f", dir + "/d-wrong.yaml"},
		"create": {"create", "-f", dir + "/a-new.yaml"}, "create_taken": {"create", "-f", dir + "/c-same.json"}, "export": {"export", "Hello"}, "export_json": {"export", "Hello", "-o", "json"},
		"activate": {"activate", "Hello"}, "deactivate": {"deactivate", "Nightly"}, "backup": {"backup", "Hello", "--name", "x"}, "reset": {"reset", "Hello"},
		"restore": {"restore", "Hello", "before"}, "duplicate": {"duplicate", "Hello"}, "delete": {"delete", "workflow", "Hello", "--yes", "--wait"},
		"delete_backup": {"delete", "backup", "Hello", "before"}, "run": {"run", "Hello"}, "run_wait": {"run", "Hello", "--input", `{"a": 1}`, "--wait"}, "logs": {"logs", runID},
		"publish_event": {"publish-event", "call.ended", "--data", `{"a": 1}`, "--id", "twice"}, "watch": {"watch"}, "version": {"version"},
		"usage_command": {"get", "worflows"}, "usage_argument": {"activate"}, "usage_flag": {"get", "wf", "--nope"}, "usage_output": {"get", "wf", "-o", "xml"},
		"usage_file": {"apply"}, "usage_no_such_file": {"apply", "-f", "/nowhere.yaml"}, "usage_input": {"run", "Hello", "--input", "[1]"}, "usage_delete": {"delete", "Hello"},
	}
	maps.Copy(cases, tenantCases())
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			got := newTerminal(t).run(t, args...)
			text := fmt.Sprintf("$ wfctl %s\n%s--- standard error\n%s--- exit code %d\n", strings.Join(args, " "), got.out, got.err, got.code)
			text = strings.ReplaceAll(text, dir, "DIR")
			golden := filepath.Join("testdata", name+".golden")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A change that finds a service away is tried again under the same request id, and reads are tried again too.
func TestRun_tries_again(t *testing.T) {
	x := newTerminal(t)
	x.fake.away = 2
	if got := x.run(t, "backup", "Hello"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	var keys []string
	for _, r := range x.fake.requests {
		if b, ok := r.(*workflowv1.BackupWorkflowRequest); ok {
			keys = append(keys, b.GetRequestId())
		}
	}
	if len(keys) != 3 || keys[0] == "" || len(slices.Compact(keys)) != 1 {
		t.Errorf("request ids: %v", keys)
	}
	x.fake.away, x.fake.requests = 1000, nil
	if got := x.run(t, "backup", "Hello"); got.code != 3 || !strings.Contains(got.err, "the database is away (DATABASE_UNAVAILABLE)") || len(x.fake.requests) != 5 {
		t.Errorf("got %+v after %d tries", got, len(x.fake.requests))
	}
	x.fake.away = 0
	x.run(t, "backup", "Hello")
	if last, ok := x.fake.requests[5].(*workflowv1.BackupWorkflowRequest); !ok || last.GetRequestId() == keys[0] {
		t.Error("another change has the same request id")
	}
}

func TestRun_follows_a_run(t *testing.T) {
	for name, args := range map[string][]string{"run": {"run", "Hello", "--wait"}, "logs": {"logs", "Hello", "-f"}} {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			x.fake.running, x.fake.failed = 3, true
			got := x.run(t, args...)
			if got.code != 1 || got.err != "" || strings.Count(got.out, "decide ") != 1 || strings.Count(got.out, "decide.send") != 1 ||
				!strings.Contains(got.out, "FAILED after 1.25s  TARGET_STATUS: the target answered 500") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRun_asks_before_it_deletes(t *testing.T) {
	x := newTerminal(t)
	x.interactive, x.stdin = true, "Hullo\n"
	if got := x.run(t, "delete", "Hello"); got.code != 1 || !strings.Contains(got.err, "that is not the title") || len(x.fake.requests) > 0 {
		t.Errorf("got %+v", got)
	}
	x.stdin = "Hello\n"
	got := x.run(t, "delete", "Hello")
	const want = `Deleting "Hello" is final. With it go 3 revisions, 1 backup, its draft, 2 executions not ended yet and the history of its runs.
It is called by "Nightly" (INACTIVE), which would fail there.
Type the title to go on: `
	if got.code != 0 || got.err != want || got.out != "workflow \"Hello\" is being deleted\n" {
		t.Errorf("got %+v", got)
	}
	req, ok := x.fake.requests[0].(*workflowv1.DeleteWorkflowRequest)
	if !ok || req.GetConfirm() != "Hello" || req.GetEtag() != "7" {
		t.Errorf("asked for %v", x.fake.requests[0])
	}
}

func TestRun_reads_documents(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "a", "sub/b.yaml": "b", ".git/c.yaml": "c", "d.txt": "d"})
	cases := map[string]struct {
		args []string
		want []string
	}{
		"directory": {[]string{"-f", dir}, []string{"a"}}, "below": {[]string{"-R", "-f", dir}, []string{"a", "b"}},
		"several": {[]string{"-f", dir + "/d.txt", "-f", "-"}, []string{"d", "typed"}}, "list": {[]string{"-f", dir + "/a.yaml," + dir + "/d.txt"}, []string{"a", "d"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			x.stdin = "typed"
			if got := x.run(t, append([]string{"apply"}, c.args...)...); got.code != 0 {
				t.Fatalf("got %+v", got)
			}
			var sent []string
			for _, r := range x.fake.requests {
				if i, ok := r.(*workflowv1.ImportWorkflowRequest); ok {
					sent = append(sent, i.GetContent())
				}
			}
			if diff := cmp.Diff(c.want, sent); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	x := newTerminal(t)
	x.stdin = "\xff"
	if got := x.run(t, "apply", "-f", "-"); got.code != 1 || !strings.Contains(got.err, "standard input is not UTF-8") {
		t.Errorf("got %+v", got)
	}
	x.stdin = "a: b"
	if got := x.run(t, "run", "Hello", "--input", "@-"); got.code != 0 || x.fake.requests[0].(*workflowv1.RunWorkflowRequest).GetInput().GetFields()["a"].GetStringValue() != "b" {
		t.Errorf("got %+v", got)
	}
}

func TestRun_exports_into_files(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	got := newTerminal(t).run(t, "export", "--all", "--dir", dir)
	if got.code != 0 || got.out != dir+"/hello.yaml\n"+dir+"/nightly.yaml\n" {
		t.Fatalf("got %+v", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "nightly.yaml"))
	if err != nil || string(text) != "title: "+nightID+"\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestRun_completes(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"titles": {[]string{"activate", ""}, "Hello\nNightly\n"}, "some_titles": {[]string{"logs", "n"}, "Nightly\n"}, "describe": {[]string{"describe", "workflow", "h"}, "Hello\n"},
		"flag": {[]string{"get", "executions", "--workflow", ""}, "Hello\nNightly\n"}, "output": {[]string{"get", "wf", "-o", ""}, "table\nwide\njson\nyaml\n"},
		"users": {[]string{"token", "--user", ""}, "owner@acme.test\n"}, "events": {[]string{"publish-event", ""}, "call.ended\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := newTerminal(t).run(t, append([]string{"__complete"}, c.args...)...)
			if got.code != 0 || !strings.HasPrefix(got.out, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := newTerminal(t).run(t, "completion", shell); got.code != 0 || !strings.Contains(got.out, "wfctl") {
			t.Errorf("%s: %d %s", shell, got.code, got.err)
		}
	}
}

// Where calls go and whose token they carry.
func TestRun_settings(t *testing.T) {
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "token")
	if _, err := auth.OpenIssuer(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: data})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args, environ []string
		// server and token, or user for a token of development, or wrong for what is said.
		server, token, user, wrong string
	}{
		"default":           {environ: []string{"UC_TOKEN=a"}, server: "http://127.0.0.1:8080", token: "a"},
		"listens":           {environ: []string{"UC_TOKEN=a", "UC_HTTP_ADDR=:18080"}, server: "http://127.0.0.1:18080", token: "a"},
		"listens_all":       {environ: []string{"UC_TOKEN=a", "UC_HTTP_ADDR=0.0.0.0:18080"}, server: "http://127.0.0.1:18080", token: "a"},
		"environment":       {environ: []string{"UC_TOKEN_FILE=" + file, "UC_SERVER=https://x.test"}, server: "https://x.test", token: "from-file"},
		"flags":             {args: []string{"--server", "localhost:1", "--token-file", file}, environ: []string{"UC_TOKEN=a", "UC_SERVER=https://x.test"}, server: "http://localhost:1", token: "from-file"},
		"user":              {args: []string{"--user", "viewer@acme.test", "--data-dir", data}, environ: []string{"UC_TOKEN=a"}, server: "http://127.0.0.1:8080", user: "viewer@acme.test"},
		"development":       {environ: []string{"UC_DATA_DIR=" + data}, server: "http://127.0.0.1:8080", user: "owner@acme.test"},
		"not_to_strangers":  {args: []string{"--server", "https://x.test"}, environ: []string{"UC_DATA_DIR=" + data}, wrong: "no token"},
		"no_token":          {environ: []string{"UC_DATA_DIR=/nowhere"}, wrong: "no token"},
		"unknown_user":      {args: []string{"--user", "x", "--data-dir", data}, wrong: "no development user x"},
		"no_development":    {args: []string{"--user", "owner@acme.test", "--data-dir", "/nowhere"}, wrong: "no system has run in development mode"},
		"both":              {args: []string{"--user", "x", "--token-file", file}, wrong: "exclude one another"},
		"no_file":           {args: []string{"--token-file", "/nowhere"}, wrong: "--token-file: open /nowhere"},
		"token_of_lines":    {environ: []string{"UC_TOKEN=a\nb"}, wrong: "the token is not one line"},
		"unknown_setting":   {environ: []string{"UC_TOKEN=a", "UC_SEVRER=x"}, wrong: "UC_SEVRER: unknown setting"},
		"setting_of_others": {environ: []string{"UC_TOKEN=a", "UC_EXECUTOR_SLOTS=1"}, server: "http://127.0.0.1:8080", token: "a"},
	}
	errDialled := errors.New("dialled")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var errOut strings.Builder
			var server, token string
			code := run(t.Context(), Process{Args: append([]string{"get", "workflows"}, c.args...), Environ: c.environ, Stdin: strings.NewReader(""), Stdout: &errOut, Stderr: &errOut},
				&command.App{Now: time.Now, Dial: func(s string, source func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
					server = s
					var err error
					token, err = source(t.Context())
					return nil, errors.Join(errDialled, err)
				}})
			if c.wrong != "" {
				if code != 2 || !strings.Contains(errOut.String(), c.wrong) || server != "" {
					t.Errorf("got %d %s", code, errOut.String())
				}
				return
			}
			if server != c.server || c.token != "" && token != c.token {
				t.Errorf("got %s with %s: %s", server, token, errOut.String())
			}
			if c.user != "" {
				if p, err := verifier.Verify(t.Context(), token); err != nil || p.Subject != c.user {
					t.Errorf("token of %+v, %v", p, err)
				}
			}
		})
	}
}

func TestRun_token(t *testing.T) {
	data := t.TempDir()
	if _, err := auth.OpenIssuer(data); err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: data})
	if err != nil {
		t.Fatal(err)
	}
	got := newTerminal(t).run(t, "token", "--user", "builder@acme.test", "--data-dir", data)
	if p, err := verifier.Verify(t.Context(), strings.TrimSpace(got.out)); err != nil || p.Subject != "builder@acme.test" {
		t.Errorf("got %+v, %v", p, err)
	}
}
