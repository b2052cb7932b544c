// Package page holds the one page that shows the last executions until the dashboard takes its place: files of its own, no framework, no
// inline script. It talks to the API as any client does and knows nothing that the API does not say.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"
)

//go:embed files
var files embed.FS

// policy lets the page load its own files and call its own origin, nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Pages returns the page's files by their paths. Each is read once; a path that is not listed does not exist.
func Pages() (map[string]http.Handler, error) {
	pages := make(map[string]http.Handler)
	for path, f := range map[string]struct{ name, contentType string }{
		"/":                 {"index.html", "text/html; charset=utf-8"},
		"/assets/app.js":    {"app.js", "text/javascript; charset=utf-8"},
		"/assets/format.js": {"format.js", "text/javascript; charset=utf-8"},
		"/assets/app.css":   {"app.css", "text/css; charset=utf-8"},
		"/assets/icon.svg":  {"icon.svg", "image/svg+xml"},
	} {
		content, err := fs.ReadFile(files, "files/"+f.name)
		if err != nil {
			return nil, fmt.Errorf("read page: %w", err)
		}
		pages[path] = serve(f.name, f.contentType, content)
	}
	return pages, nil
}

func serve(name, contentType string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		// A new version of the gateway shows at once; the files are small.
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
