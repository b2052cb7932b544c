package wfctl

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// A text may hold several documents. Each is sent alone, with the line numbers that it has in the text.
func TestRun_reads_several_documents(t *testing.T) {
	cases := map[string]struct {
		text string
		want []string
	}{
		"two":         {"a\n---\nb\n", []string{"a\n", "\n---\nb\n"}},
		"with_a_head": {"# about\n--- # first\na\n---\nb", []string{"\n--- # first\na\n", "\n\n\n---\nb"}},
		"windows":     {"a\r\n---\r\nb\r\n", []string{"a\r\n", "\n---\r\nb\r\n"}},
		"empty_ones":  {"---\n---\na\n---\n# none\n", []string{"\n---\na\n"}},
		"one":         {"a: |\n  ---\n  b\n----\n", []string{"a: |\n  ---\n  b\n----\n"}},
		"json":        {`{"title": "---"}`, []string{`{"title": "---"}`}},
		"nothing":     {"# none\n", []string{"# none\n"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			x.stdin = c.text
			if got := x.run(t, "apply", "-f", "-"); got.code != 0 {
				t.Fatalf("got %+v", got)
			}
			var sent []string
			for _, r := range x.fake.requests {
				sent = append(sent, r.(*workflowv1.ImportWorkflowRequest).GetContent())
			}
			if diff := cmp.Diff(c.want, sent); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	x := newTerminal(t)
	x.stdin = "same\n---\nwrong\n---\nnew\n"
	got := x.run(t, "apply", "-f", "-")
	if got.code != 1 || !strings.HasPrefix(got.err, "wfctl: standard input (document 2): 2 problems") || !strings.Contains(got.out, "created") {
		t.Errorf("got %+v", got)
	}
}

// A difference has an exit code of its own, which nothing that went wrong shares.
func TestRun_tells_differences_from_refusals(t *testing.T) {
	cases := map[string]struct {
		text string
		code int
	}{
		"same": {"same", 0}, "changed": {"changed", 1}, "new": {"new", 1}, "wrong": {"wrong", 2}, "changed_and_wrong": {"changed\n---\nwrong", 2},
		"wrong_and_changed": {"wrong\n---\nchanged", 2}, "same_and_changed": {"same\n---\nchanged", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			x.stdin = c.text
			if got := x.run(t, "diff", "-f", "-"); got.code != c.code {
				t.Errorf("exit code %d, want %d: %+v", got.code, c.code, got)
			}
		})
	}
	x := newTerminal(t)
	x.stdin, x.fake.away = "changed", 1000
	if got := x.run(t, "diff", "-f", "-"); got.code != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestRun_tries_with_kubectls_words(t *testing.T) {
	for value, tries := range map[string]bool{"": true, "=server": true, "=client": true, "=true": true, "=none": false, "=false": false} {
		x := newTerminal(t)
		x.stdin = "changed"
		got := x.run(t, "apply", "-f", "-", "--dry-run"+value)
		if sent := x.fake.requests[0].(*workflowv1.ImportWorkflowRequest); got.code != 0 || sent.GetValidateOnly() != tries {
			t.Errorf("--dry-run%s: %+v, sent %v", value, got, sent)
		}
	}
	if got := newTerminal(t).run(t, "apply", "-f", "-", "--dry-run=maybe"); got.code != 2 || !strings.Contains(got.err, "give none, or server") {
		t.Errorf("got %+v", got)
	}
}

// Ctrl-C ends whatever is under way, also a question that nobody answers.
func TestRun_is_interrupted(t *testing.T) {
	t.Run("question", func(t *testing.T) {
		x := newTerminal(t)
		nobody, end := io.Pipe()
		t.Cleanup(func() { _ = end.Close() })
		ctx, interrupt := context.WithCancel(t.Context())
		x.ctx, x.interactive, x.stdinFrom = ctx, true, readerFunc(func(p []byte) (int, error) {
			interrupt()
			return nobody.Read(p)
		})
		got := x.run(t, "delete", "Hello")
		if got.code != 130 || !strings.HasSuffix(got.err, "wfctl: interrupted\n") || len(x.fake.requests) > 0 {
			t.Errorf("got %+v, asked for %v", got, x.fake.requests)
		}
	})
	for name, args := range map[string][]string{"run": {"run", "Hello", "--wait"}, "logs": {"logs", runID, "-f"}} {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			ctx, interrupt := context.WithCancel(t.Context())
			x.ctx, x.fake.running, x.fake.on = ctx, 1000, interrupt
			got := x.run(t, args...)
			if got.code != 130 || !strings.HasSuffix(got.err, "wfctl: interrupted\n") || name == "run" && !strings.HasPrefix(got.err, "The execution goes on: wfctl logs "+runID+" -f\n") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Following goes on while the system starts anew, for longer than a single call is tried again.
func TestRun_follows_through_an_outage(t *testing.T) {
	x := newTerminal(t)
	x.fake.running, x.fake.lost = 1, 6
	if got := x.run(t, "logs", runID, "-f"); got.code != 0 || got.err != "" || !strings.Contains(got.out, "SUCCEEDED after") || x.fake.lost != 0 {
		t.Errorf("got %+v with %d losses left", got, x.fake.lost)
	}
}

// What is no part of an answer is said beside it.
func TestRun_keeps_answers_apart(t *testing.T) {
	x := newTerminal(t)
	x.fake.titles = []string{}
	if got := x.run(t, "get", "workflows"); got != (result{err: "No workflows.\n"}) {
		t.Errorf("got %+v", got)
	}
	x = newTerminal(t)
	x.stdin = "same\n---\nsame"
	if got := x.run(t, "apply", "-f", "-", "-o", "yaml"); got.code != 0 || strings.Count(got.out, "\n---\n") != 1 || strings.HasPrefix(got.out, "---") {
		t.Errorf("got %+v", got)
	}
	if got := newTerminal(t).run(t, "get", "workflows", "--limit", "-1"); got.code != 2 || !strings.Contains(got.err, "less than nothing") {
		t.Errorf("got %+v", got)
	}
	if got := newTerminal(t).run(t, "get", "workflows", "--limit", "2"); got.code != 0 || got.err != "" {
		t.Errorf("a list that is whole: %+v", got)
	}
}

func TestRun_helps_who_went_wrong(t *testing.T) {
	cases := map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"case_of_letters": {args: []string{"describe", "hello"}, want: `did you mean "Hello"?`},
		"resource":        {args: []string{"get", "pods"}, want: "get has no \"pods\"; there are actiontypes, audit,"},
		"command":         {args: []string{"aply"}, want: "there is no command \"aply\"; did you mean apply?"},
		"server_made":     {args: []string{"apply", "-f", "-"}, stdin: "etag: x", want: "wfctl export writes what can be applied"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			x.stdin = c.stdin
			if got := x.run(t, c.args...); got.code == 0 || !strings.Contains(got.err, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// No file takes the place of another, whatever the titles are.
func TestRun_exports_every_title(t *testing.T) {
	x := newTerminal(t)
	long := strings.Repeat("日", 128)
	x.fake.titles = []string{"a", "a!", "A 2", "...", long}
	dir := t.TempDir()
	if got := x.run(t, "export", "--all", "--dir", dir); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[string(text)] = true
	}
	for _, title := range x.fake.titles {
		if !found["title: "+title+"\n"] {
			t.Errorf("no file has %q", title)
		}
	}
}

func TestRun_exports_a_template(t *testing.T) {
	const want = "title: Hello\ntrigger:\n  manual: {}\nsteps:\n  - id: a\n    stop: {}\n"
	if got := newTerminal(t).run(t, "export", "--template", "hello"); got != (result{out: want}) {
		t.Errorf("got %+v", got)
	}
	if got := newTerminal(t).run(t, "export", "Hello", "--template", "hello"); got.code != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestRun_completes_what_belongs_to_a_workflow(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"restore": {[]string{"restore", "Hello", ""}, "before\n:4\n"}, "get": {[]string{"get", "backups", "Hello", ""}, "before\n:4\n"},
		"delete": {[]string{"delete", "backup", "Hello", ""}, "before\n:4\n"}, "delete_of": {[]string{"delete", "backup", "he"}, "Hello\n:4\n"},
		"nobody": {[]string{"restore", "Nobody", ""}, ":4\n"}, "no_third": {[]string{"restore", "Hello", "before", ""}, ":4\n"},
		"templates": {[]string{"get", "templates", ""}, "hello\n:4\n"}, "template": {[]string{"export", "--template", ""}, "hello\n:4\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := newTerminal(t).run(t, append([]string{"__complete"}, c.args...)...); got.code != 0 || got.out != c.want {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}

// Every command says how it is used, in lines that begin as they are typed.
func TestRun_shows_examples(t *testing.T) {
	for _, command := range []string{
		"get", "get workflows", "get revisions", "get backups", "get templates", "get audit", "get eventtypes", "get actiontypes", "describe", "logs", "watch",
		"create", "apply", "diff", "validate", "export", "backup", "restore", "duplicate", "delete", "run", "publish-event", "token",
	} {
		if got := newTerminal(t).run(t, append(strings.Fields(command), "--help")...); got.code != 0 || !strings.Contains(got.out, "Examples:\n  ") || !strings.Contains(got.out, "wfctl ") {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

// Bash types what several titles have in common, which must then be one word.
func TestRun_completes_titles_in_bash(t *testing.T) {
	got := newTerminal(t).run(t, "completion", "bash")
	const escaped = `IFS=$'\n' read -ra COMPREPLY -d '' < <(printf "%q\n" "${COMPREPLY[@]}")`
	if got.code != 0 || strings.Count(got.out, escaped) != 2 {
		t.Fatalf("exit code %d, and not both ways of completing escape what they offer", got.code)
	}
	// What offers titles, without the helpers of the package bash-completion.
	script := got.out + `
completions=("On Call Ended" "On Disposition Submitted")
cur=On
__wfctl_handle_standard_completion_case
printf '%s\n' "${COMPREPLY[@]}"
`
	out, err := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script).CombinedOutput()
	if err != nil || string(out) != "On\\ Call\\ Ended\nOn\\ Disposition\\ Submitted\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
