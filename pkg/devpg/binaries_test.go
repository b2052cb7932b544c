package devpg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindBinaries_NoneFits(t *testing.T) {
	t.Setenv("UC_PG_BIN", "")
	_, err := findBinaries(t.Context(), "", 99)
	if err == nil {
		t.Fatal("got binaries for a cluster of version 99")
	}
	for _, want := range []string{"npm ci --prefix ", filepath.Join("tools", "pg"), "made by version 99"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

func TestFindBinaries_GivenDirectory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		version string // what postgres --version prints; none means an empty directory
		wantErr string
	}{
		{"fits", "postgres (PostgreSQL) 17.2 (Debian 17.2-1)", ""},
		{"too_old", "postgres (PostgreSQL) 14.9", "older than 15"},
		{"not_postgres", "something else", `says "something else"`},
		{"empty_directory", "", "UC_PG_BIN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "bin")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if tt.version != "" {
				writeProgram(t, filepath.Join(dir, "postgres"), "echo '"+tt.version+"'")
				writeProgram(t, filepath.Join(dir, "initdb"), "exit 1")
			}
			b, err := findBinaries(t.Context(), dir, 0)
			if tt.wantErr == "" {
				if err != nil || b.major != 17 || b.version != "17.2" {
					t.Errorf("got %+v, %v; want 17.2", b, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want an error with %q", err, tt.wantErr)
			}
		})
	}
}

func TestLinkLibraries(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"native/bin", "native/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(root, "native/lib/libx.so.1.2"), "library")
	writeFile(t, filepath.Join(root, "native/pg-symlinks.json"),
		`[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"}]`)
	for range 2 { // the second time the link is there
		if err := linkLibraries(filepath.Join(root, "native/bin")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(root, "native/lib/libx.so.1"))
	if err != nil || string(got) != "library" {
		t.Errorf("through the link: got %q, %v", got, err)
	}

	writeFile(t, filepath.Join(root, "native/pg-symlinks.json"), `[{"source":"/etc/passwd","target":"../out"}]`)
	if err := linkLibraries(filepath.Join(root, "native/bin")); err == nil {
		t.Error("a link that leaves the package was made")
	}
}

func writeProgram(t *testing.T, name, body string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
