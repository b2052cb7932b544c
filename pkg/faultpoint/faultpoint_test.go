package faultpoint_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"workflow.uniconnect/pkg/faultpoint"
)

// Without the build tag nothing happens, whatever the environment says.
func TestHit_normalBuild(t *testing.T) {
	t.Setenv(faultpoint.Variable, "here")
	faultpoint.Hit("here")
}

// With it the process is killed at the place that was asked for, and at no other.
func TestHit(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "faultpoints", "-o", program, "./testdata/program")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for point, want := range map[string]struct {
		output string
		killed bool
	}{
		"":       {"begin,middle,end", false},
		"other":  {"begin,middle,end", false},
		"first":  {"begin", true},
		"second": {"begin,middle", true},
	} {
		t.Run("at_"+point, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), faultpoint.Variable+"="+point)
			out, err := cmd.Output()
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if got := strings.TrimSuffix(string(out), ","); got != want.output || killed != want.killed {
				t.Errorf("got %q, killed %v (%v); want %q, %v", got, killed, err, want.output, want.killed)
			}
		})
	}
}
