package command

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// document is a text that describes a workflow, and where it came from.
type document struct{ name, text string }

// maxDocument is how long a document may be; the service says so too.
const maxDocument = 1 << 20

// fileFlags are where documents are read from.
type fileFlags struct {
	names     []string
	recursive bool
}

func (f *fileFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVarP(&f.names, "filename", "f", nil, "file or directory with documents, or - for standard input; may be repeated")
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "R", false, "directories below as well")
}

// read returns the documents, those of a directory in the order of their names.
func (f *fileFlags) read(stdin io.Reader) ([]document, error) {
	if len(f.names) == 0 {
		return nil, usage("-f is missing: name a file, a directory, or - for standard input")
	}
	var all []document
	for _, name := range f.names {
		if name == "-" {
			text, err := readDocument("standard input", stdin)
			if err != nil {
				return nil, err
			}
			all = append(all, split("standard input", text)...)
			continue
		}
		paths, err := f.paths(name)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			text, err := readFile(path)
			if err != nil {
				return nil, err
			}
			all = append(all, split(path, text)...)
		}
	}
	return all, nil
}

// separator is the line that begins another document. YAML lets no text of several lines hold one.
var separator = regexp.MustCompile(`(?m)^---([ \t].*)?\r?$`)

// split returns the documents of a text. Each keeps the line numbers that it has in the text, for what is said about it; what holds
// nothing but comments is none.
func split(name, text string) []document {
	var all []document
	bounds := append([]int{0}, starts(text)...)
	for i, from := range bounds {
		to := len(text)
		if i+1 < len(bounds) {
			to = bounds[i+1]
		}
		if part := text[from:to]; !isEmpty(part) {
			all = append(all, document{name, strings.Repeat("\n", strings.Count(text[:from], "\n")) + part})
		}
	}
	switch len(all) {
	case 0:
		return []document{{name, text}} // which the service refuses
	case 1:
		return all
	}
	for i := range all {
		all[i].name = fmt.Sprintf("%s (document %d)", name, i+1)
	}
	return all
}

// starts returns where documents behind the first begin.
func starts(text string) []int {
	var all []int
	for _, at := range separator.FindAllStringIndex(text, -1) {
		all = append(all, at[0])
	}
	return all
}

// isEmpty tells whether a part of a text has no line but comments and its separator.
func isEmpty(part string) bool {
	for line := range strings.Lines(part) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "---"))
		if line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func (f *fileFlags) paths(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, usage("-f: %v", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var paths []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != name && (!f.recursive || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, usage("-f: %v", err)
	}
	if len(paths) == 0 {
		return nil, usage("-f: %s has no files that end in .yaml, .yml or .json", name)
	}
	return paths, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", usage("-f: %v", err)
	}
	defer func() { _ = file.Close() }()
	return readDocument(path, file)
}

func readDocument(name string, from io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", name, err)
	case len(text) > maxDocument:
		return "", fmt.Errorf("%s is longer than %d bytes", name, maxDocument)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s is not UTF-8", name)
	}
	return string(text), nil
}

// valueOf reads a value that is given as it is, as @file, or as @- for standard input.
func valueOf(flag, value string, stdin io.Reader) (string, error) {
	name, isFile := strings.CutPrefix(value, "@")
	switch {
	case !isFile:
		return value, nil
	case name == "-":
		return readDocument("standard input", stdin)
	}
	text, err := readFile(name)
	if isUsage(err) {
		return "", usage("--%s: no file %s", flag, name)
	}
	return text, err
}
