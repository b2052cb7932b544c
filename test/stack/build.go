package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// BinEnv names a directory that holds the binaries already. Without it they are built.
const BinEnv = "UC_TEST_BIN"

// commands are the binaries of the system and of its surroundings.
func commands() []string {
	return []string{
		"./services/workflowd/cmd/workflowd", "./services/workflow-catalog/cmd/workflow-catalog",
		"./services/trigger-scheduler/cmd/trigger-scheduler", "./services/executor/cmd/executor",
		"./services/gateway/cmd/gateway", "./services/sandbox/cmd/sandbox", "./services/wfctl/cmd/wfctl",
		"./test/cmd/natsserver", "./test/cmd/referenceloop",
	}
}

// NoFence is the build tag of an executor that does not check whether an execution is still its own. It exists to show that the tests
// would notice.
const NoFence = "nofence"

// Build makes the binaries and returns their directory. The directory is kept, so that only what has changed is linked again, and
// several test processes at once share the work.
func Build(ctx context.Context) (string, error) {
	if dir := os.Getenv(BinEnv); dir != "" {
		return dir, nil
	}
	return build(ctx, "bin", nil, commands())
}

// BuildNoFence makes an executor without its fence and returns the path of the binary.
func BuildNoFence(ctx context.Context) (string, error) {
	dir, err := build(ctx, NoFence, []string{"-tags", NoFence}, []string{"./services/executor/cmd/executor"})
	return filepath.Join(dir, "executor"), err
}

// FaultPoints is the build tag of services that can be told where to die.
const FaultPoints = "faultpoints"

// BuildFaultPoints makes the services that can be told where to die and returns their directory.
func BuildFaultPoints(ctx context.Context) (string, error) {
	return build(ctx, FaultPoints, []string{"-tags", FaultPoints}, []string{
		"./services/workflow-catalog/cmd/workflow-catalog", "./services/trigger-scheduler/cmd/trigger-scheduler", "./services/executor/cmd/executor",
	})
}

// TenantBlind is the build tag of services whose statements do not look at the tenant. It exists to show that the database does.
const TenantBlind = "tenantblind"

// BuildTenantBlind makes a workflowd whose calls do not filter by tenant and returns its directory.
func BuildTenantBlind(ctx context.Context) (string, error) {
	return build(ctx, TenantBlind, []string{"-tags", TenantBlind}, []string{"./services/workflowd/cmd/workflowd"})
}

func build(ctx context.Context, name string, flags, packages []string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(root))
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("uc-test-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])), name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", dir, err)
	}
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...) //nolint:gosec // the packages are ours, listed above
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
}

// Root is the directory of the repository, the one with go.work, seen from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.work in the working directory or above: run this inside the repository")
		}
		dir = parent
	}
}
