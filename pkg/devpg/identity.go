package devpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// nobody is the user PostgreSQL runs as when we are root, which it refuses to be.
const nobody = 65534

// identity says as whom PostgreSQL runs. The zero value is "as ourselves".
type identity struct {
	drop bool
	uid  int
	// readAll is set when a directory on the way to the data or the binaries
	// (a clone in /root, say) is closed to uid. PostgreSQL then gets the one
	// capability to read past directory permissions, and the socket sits
	// behind a directory that only root enters, so that no other process of
	// that user can borrow the capability.
	readAll bool
}

func newIdentity(p *plan) (identity, error) {
	if os.Geteuid() != 0 {
		return identity{}, nil
	}
	id := identity{drop: true, uid: nobody}
	if info, err := os.Stat(p.cluster); err == nil {
		// A cluster made by a normal user stays that user's.
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
			id.uid = int(stat.Uid)
		}
	}
	// The socket's own directories are not there yet; their parent is.
	for _, dir := range []string{p.dataDir, p.bin.dir, filepath.Dir(filepath.Dir(p.socketDir))} {
		closed, err := closedTo(dir, id.uid)
		if err != nil {
			return identity{}, err
		}
		if closed == "" {
			continue
		}
		if !canReadAll() {
			return identity{}, fmt.Errorf("directory %s is closed to uid %d, as which PostgreSQL runs when the user is root: run chmod o+x %s, or set UC_DATA_DIR to a place outside of it", closed, id.uid, closed)
		}
		id.readAll = true
	}
	return id, nil
}

// closedTo finds the first directory from dir up that uid cannot enter.
func closedTo(dir string, uid int) (string, error) {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return "", err
		}
		need := os.FileMode(0o001)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == uid {
			need = 0o100
		}
		if info.Mode()&need == 0 {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
}

// outerMode is the mode of the directory around the socket's.
func (id identity) outerMode() os.FileMode {
	if id.drop && !id.readAll {
		return 0o711
	}
	return 0o700
}

// give hands a path over to the user PostgreSQL runs as.
func (id identity) give(path string) error {
	if !id.drop {
		return nil
	}
	return os.Chown(path, id.uid, id.uid)
}

// command prepares a program of PostgreSQL to run in dir.
func (id identity) command(ctx context.Context, dir, program string, args []string) *exec.Cmd {
	var cmd *exec.Cmd
	if id.readAll {
		// The capability takes effect with the first exec. So that must be of
		// a program in an open place, which then enters the closed one.
		shell := append([]string{"-c", `cd "$0" && exec "$@"`, dir, program}, args...)
		cmd = exec.CommandContext(ctx, "/bin/sh", shell...)
		cmd.Dir = "/"
	} else {
		cmd = exec.CommandContext(ctx, program, args...)
		cmd.Dir = dir
	}
	cmd.Env = childEnv()
	cmd.SysProcAttr = id.procAttr()
	return cmd
}

func (id identity) credential() *syscall.Credential {
	if !id.drop {
		return nil
	}
	return &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.uid)}
}
