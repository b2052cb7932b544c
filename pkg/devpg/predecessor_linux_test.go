package devpg

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// An orphan that did not hear of its owner's death, as on systems without a
// parent-death signal; once running and once frozen.
func TestStart_EndsAnOrphan(t *testing.T) {
	t.Parallel()
	for _, frozen := range []bool{false, true} {
		t.Run(fmt.Sprintf("frozen_%t", frozen), func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			s := start(t, Options{DataDir: dir})
			exec1(t, s.URL("postgres"), `CREATE TABLE kept (n int)`)
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			orphan := startOrphan(t, dir)
			if frozen {
				if err := orphan.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			s = start(t, Options{DataDir: dir})
			if s.PID() == orphan.Process.Pid {
				t.Fatal("the orphan is still in charge")
			}
			if got := queryText(t, s.URL("postgres"), `SELECT count(*)::text FROM kept`); got != "0" {
				t.Errorf("got %q, want 0", got)
			}
		})
	}
}

func startOrphan(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	p := planFor(t, dir)
	if err := p.prepareSocketDir(); err != nil {
		t.Fatal(err)
	}
	cmd := p.ident.command(context.Background(), p.cluster, p.bin.path("postgres"), p.serverArgs())
	cmd.SysProcAttr.Pdeathsig = 0
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan error, 1)
	go func() { reaped <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-reaped
	})
	err := poll(t.Context(), func() (bool, error) {
		conn, err := pgx.Connect(t.Context(), socketURL(t, dir))
		if err != nil {
			return false, nil
		}
		return true, conn.Close(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}
