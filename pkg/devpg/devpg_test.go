package devpg

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// ownerEnv makes this test binary the owner of a server, to be killed.
const ownerEnv = "DEVPG_TEST_OWNER_OF"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		os.Exit(ownServer(dir))
	}
	os.Exit(m.Run())
}

// ownServer starts a server, reports its process id and waits to be killed.
func ownServer(dir string) int {
	s, err := Start(context.Background(), Options{DataDir: dir})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(s.PID())
	<-s.Exited()
	return 0
}

func TestServer_RestartFindsItsData(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	s := start(t, Options{DataDir: dir})
	if err := s.EnsureDatabase(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureDatabase(t.Context(), "app"); err != nil {
		t.Fatalf("the second EnsureDatabase: %v", err)
	}
	exec1(t, s.URL("app"), `CREATE TABLE kept (n int)`)
	exec1(t, s.URL("app"), `INSERT INTO kept VALUES (7)`)
	if got := queryText(t, s.URL("app"), `SELECT current_setting('fsync') || current_setting('synchronous_commit')`); got != "onon" {
		t.Errorf("fsync and synchronous_commit: got %q, want both on", got)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatalf("Stop: %v", err)
		}
	}
	s = start(t, Options{DataDir: dir})
	if got := queryText(t, s.URL("app"), `SELECT n::text FROM kept`); got != "7" {
		t.Errorf("after the restart: got %q, want 7", got)
	}
}

func TestServer_SurvivesKillOfItsOwner(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	var lastPID int
	for round := range 3 {
		owner, pid := startOwner(t, dir)
		url := socketURL(t, dir)
		if round == 0 {
			exec1(t, url, `CREATE TABLE kept (n int)`)
		}
		open := openTx(t, url)
		exec1(t, url, fmt.Sprintf(`INSERT INTO kept VALUES (%d)`, round))
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait() // "signal: killed"
		lastPID = pid
		_ = open.Close(t.Context())
	}
	s := start(t, Options{DataDir: dir})
	if got := queryText(t, s.URL("postgres"), `SELECT string_agg(n::text, ',' ORDER BY n) FROM kept`); got != "0,1,2" {
		t.Errorf("committed rows: got %q, want 0,1,2", got)
	}
	if pids := processesIn(filepath.Join(dir, "cluster")); contains(pids, lastPID) {
		t.Errorf("the killed owner's postmaster %d still runs", lastPID)
	}
}

func TestStart_RefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	s := start(t, Options{DataDir: dir})
	_, err := Start(t.Context(), Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second Start: got %v, want an error naming process %d", err, os.Getpid())
	}
	if got := queryText(t, s.URL("postgres"), `SELECT 'alive'`); got != "alive" {
		t.Errorf("the first server: got %q", got)
	}
}

// After a reboot the number in the pid file may belong to any program.
func TestStart_LeavesAnotherProgramAlone(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	s := start(t, Options{DataDir: dir})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := planFor(t, dir)
	other := exec.Command("cat") // waits for its input to end
	other.SysProcAttr = &syscall.SysProcAttr{Credential: p.ident.credential()}
	input, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	pidFile := fmt.Sprintf("%d\n%s\n1700000000\n5432\n/tmp\n\n1 1\n", other.Process.Pid, p.cluster)
	if err := os.WriteFile(p.pidFile(), []byte(pidFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.ident.give(p.pidFile()); err != nil {
		t.Fatal(err)
	}
	start(t, Options{DataDir: dir})
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other program ended with %v, want it untouched", err)
	}
}

// A clone below a closed home directory: root's is 0700 on most systems.
func TestStart_BelowAClosedDirectory(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{DataDir: filepath.Join(closed, "clone", ".data", "postgres")})
	if got := queryText(t, s.URL("postgres"), `SELECT 'alive'`); got != "alive" {
		t.Errorf("got %q", got)
	}
}

func TestServer_ReportsItsOwnEnd(t *testing.T) {
	t.Parallel()
	s := start(t, Options{DataDir: openDir(t), Fast: true})
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Exited():
	case <-t.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("Exited is not closed 10 s after the postmaster's death")
	}
}

func TestSocketDir_TooLong(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{DataDir: openDir(t), SocketDir: "/tmp/" + strings.Repeat("x", 120)})
	if err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("got %v, want an error that says to set TMPDIR", err)
	}
}

// openDir is a temporary directory that any user may enter; t.TempDir's is
// closed, which TestStart_BelowAClosedDirectory is about.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s
}

func startOwner(t *testing.T, dir string) (owner *exec.Cmd, postmaster int) {
	t.Helper()
	owner = exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"="+dir)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = owner.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("owner says %q", line)
	}
	return owner, pid
}

func planFor(t *testing.T, dir string) *plan {
	t.Helper()
	p, err := newPlan(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func socketURL(t *testing.T, dir string) string {
	t.Helper()
	return (&Server{socketDir: planFor(t, dir).socketDir}).URL("postgres")
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn := connect(t, url)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func queryText(t *testing.T, url, sql string) string {
	t.Helper()
	conn := connect(t, url)
	defer conn.Close(t.Context())
	var text string
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// openTx leaves a transaction open, with a row that must not survive.
func openTx(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn := connect(t, url)
	for _, sql := range []string{`BEGIN`, `INSERT INTO kept VALUES (99)`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

func contains(pids []int, pid int) bool {
	for _, p := range pids {
		if p == pid {
			return true
		}
	}
	return false
}
