package repo

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+\s+(.+?)\s*$`)
	codePattern    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
)

// Links between documents lead somewhere.
func TestLinks_resolve(t *testing.T) {
	links := 0
	walk(t, func(root, name string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range linkPattern.FindAllStringSubmatch(codePattern.ReplaceAllString(string(text), ""), -1) {
			links++
			if problem := follow(name, match[1]); problem != "" {
				t.Errorf("%s: link %s: %s", rel, match[1], problem)
			}
		}
	})
	if links == 0 {
		t.Error("no document links to another: the README must lead to the docs")
	}
}

// follow says what is wrong with a link in a document, or nothing. Links to other hosts are not followed.
func follow(from, link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" {
		return ""
	}
	to := from
	if u.Path != "" {
		to = filepath.Join(filepath.Dir(from), filepath.FromSlash(u.Path))
	}
	info, err := os.Stat(to)
	if err != nil {
		return "there is no such file"
	}
	if u.Fragment == "" || info.IsDir() {
		return ""
	}
	text, err := os.ReadFile(to)
	if err != nil {
		return err.Error()
	}
	for _, heading := range headingPattern.FindAllStringSubmatch(string(text), -1) {
		if anchor(heading[1]) == u.Fragment {
			return ""
		}
	}
	return "the file has no such heading"
}

// anchor is the name that a heading has in links.
func anchor(heading string) string {
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
