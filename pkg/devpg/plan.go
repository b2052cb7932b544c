package devpg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxLogBytes  = 16 << 20
	logTailBytes = 2 << 10
	lockPatience = 3 * time.Second
)

// plan is everything decided before the server starts.
//
//	<DataDir>/cluster        the cluster, owned by the user PostgreSQL runs as
//	<DataDir>/cluster.new-*  an initdb under way; renamed when complete
//	<DataDir>/lock           held for as long as a Server lives
//	<DataDir>/postgres.log   the server's log, one older generation beside it
//	<tmp>/uc-pg-<hash>/s     the socket
type plan struct {
	dataDir   string
	cluster   string
	logFile   string
	socketDir string
	fast      bool
	bin       binaries
	ident     identity
	log       *slog.Logger
}

func newPlan(ctx context.Context, opts Options) (*plan, error) {
	if opts.DataDir == "" {
		return nil, errors.New("private PostgreSQL: no data directory given")
	}
	dataDir, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	// The server reports its directories resolved, and so do we.
	if dataDir, err = filepath.EvalSymlinks(dataDir); err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	p := &plan{
		dataDir: dataDir,
		cluster: filepath.Join(dataDir, "cluster"),
		logFile: filepath.Join(dataDir, "postgres.log"),
		fast:    opts.Fast,
		log:     opts.Logger,
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.socketDir, err = socketDir(opts.SocketDir, dataDir); err != nil {
		return nil, err
	}
	if p.bin, err = findBinaries(ctx, opts.BinDir, p.clusterMajor()); err != nil {
		return nil, err
	}
	if p.ident, err = newIdentity(p); err != nil {
		return nil, err
	}
	return p, nil
}

// socketDir is the same for each start on one data directory and different for
// any other, and short, since a socket's path is limited to about 100 bytes.
// The socket itself is one level down: the upper directory is ours, the lower
// one belongs to the user PostgreSQL runs as.
func socketDir(given, dataDir string) (string, error) {
	dir := given
	if dir == "" {
		sum := sha256.Sum256([]byte(dataDir))
		dir = filepath.Join(os.TempDir(), "uc-pg-"+hex.EncodeToString(sum[:6]))
	}
	dir, err := filepath.Abs(filepath.Join(dir, "s"))
	if err != nil {
		return "", fmt.Errorf("private PostgreSQL: %w", err)
	}
	if n := len(filepath.Join(dir, ".s.PGSQL.5432")); n > maxSocketPath {
		return "", fmt.Errorf("private PostgreSQL: the socket's path would have %d bytes, more than %d: set TMPDIR to a shorter directory", n, maxSocketPath)
	}
	return dir, nil
}

// clusterMajor is the PostgreSQL version which made the cluster, 0 when there is none.
func (p *plan) clusterMajor() int {
	text, err := os.ReadFile(filepath.Join(p.cluster, "PG_VERSION"))
	if err != nil {
		return 0
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return major
}

// prepare makes the socket directory and, the first time, the cluster.
func (p *plan) prepare(ctx context.Context) error {
	if err := p.prepareSocketDir(); err != nil {
		return fmt.Errorf("prepare the socket directory: %w", err)
	}
	if p.clusterMajor() != 0 {
		return nil
	}
	if err := p.initCluster(ctx); err != nil {
		return fmt.Errorf("create a PostgreSQL cluster in %s: %w", p.cluster, err)
	}
	return nil
}

func (p *plan) prepareSocketDir() error {
	outer := filepath.Dir(p.socketDir)
	if err := os.Mkdir(outer, p.ident.outerMode()); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// The name can be guessed and the parent is open to all: a directory that
	// somebody else made there would let them stand in for our server.
	info, err := os.Lstat(outer)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s exists and is not our directory", outer)
	}
	if err := os.Chmod(outer, p.ident.outerMode()); err != nil {
		return err
	}
	if err := os.RemoveAll(p.socketDir); err != nil {
		return err
	}
	if err := os.Mkdir(p.socketDir, 0o700); err != nil {
		return err
	}
	return p.ident.give(p.socketDir)
}

// initCluster works in a directory of another name, so that a cluster either
// exists whole or not at all. The name is new each time: an initdb whose parent
// was killed may still be cleaning up its own.
func (p *plan) initCluster(ctx context.Context) error {
	abandoned, _ := filepath.Glob(p.cluster + ".new-*") // the pattern is well formed
	for _, dir := range abandoned {
		_ = os.RemoveAll(dir) // at worst it stays until the next cluster is made
	}
	fresh, err := os.MkdirTemp(p.dataDir, "cluster.new-*")
	if err != nil {
		return err
	}
	if err := p.ident.give(fresh); err != nil {
		return err
	}
	args := []string{
		"-D", fresh, "-U", User, "-E", "UTF8", "--locale=" + locale(),
		"--auth-local=trust", "--auth-host=reject", "--no-instructions",
	}
	if p.fast {
		args = append(args, "--no-sync")
	}
	cmd := p.ident.command(ctx, fresh, p.bin.path("initdb"), args)
	var out []byte
	onLockedThread(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return os.Rename(fresh, p.cluster)
}

// serverArgs are the settings of every private server: modest memory, log
// space for a busy day between checkpoints, vacuum early since the hot tables
// are small, and full durability unless a test gave it up.
func (p *plan) serverArgs() []string {
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + p.socketDir,
		"unix_socket_permissions=0700",
		"cluster_name=uniconnect",
		"max_connections=200",
		"jit=off",
		"autovacuum_naptime=10s",
		"autovacuum_vacuum_scale_factor=0.05",
		"autovacuum_vacuum_insert_scale_factor=0.1",
		"autovacuum_analyze_scale_factor=0.05",
		"autovacuum_vacuum_cost_limit=2000",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_line_prefix=%m [%p] %a ",
		"lc_messages=C",
	}
	if p.fast {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"shared_buffers=64MB", "max_wal_size=1GB")
	} else {
		settings = append(settings, "shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=15min")
	}
	args := []string{"-D", p.cluster}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "C"
}

// childEnv is our environment without what would steer PostgreSQL.
func childEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// lockDir takes the lock that tells a living user of the directory from a dead
// one. The kernel drops it with the process, whatever killed it, though not
// always before the killer goes on: hence the patience.
func lockDir(ctx context.Context, dataDir string) (*os.File, error) {
	name := filepath.Join(dataDir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	waitCtx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	err = poll(waitCtx, func() (bool, error) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		holder, _ := os.ReadFile(name)
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by process %s: %w",
			dataDir, strings.TrimSpace(string(holder)), err), f.Close())
	}
	err = errors.Join(f.Truncate(0), writePID(f))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the data directory: %w", err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// openLog appends to the server's log and keeps one older generation.
func openLog(name string) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(name, name+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// logTail is the end of the server's log, for the error of a failed start.
func logTail(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	if len(text) > logTailBytes {
		text = text[len(text)-logTailBytes:]
	}
	return string(text)
}
