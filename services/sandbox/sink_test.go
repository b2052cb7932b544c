package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type recorded struct {
	Requests []struct {
		Method, Path, Body string
		Headers            map[string]string
		JSON               map[string]any
		Time               time.Time
	}
}

func (r *running) recorded(name string) recorded {
	r.t.Helper()
	var out recorded
	r.get("/sink/"+name, &out)
	return out
}

func TestSink_records(t *testing.T) {
	t.Parallel()
	r := start(t)
	if status, body := r.do(http.MethodGet, "/sink/empty", ""); status != 200 || body != "{\"requests\":[]}\n" {
		t.Errorf("nothing recorded: got %d %q", status, body)
	}
	before := time.Now().Add(-time.Second)
	for _, method := range []string{"POST", "PUT", "PATCH", "OPTIONS", "HEAD"} {
		if status, body := r.do(method, "/sink/a?x=1", `{"n":1}`); status != 200 {
			t.Errorf("%s: got %d %s", method, status, body)
		}
	}
	r.do(http.MethodPost, "/sink/a", "\x00\xffplain")
	got := r.recorded("a")
	var methods []string
	for _, req := range got.Requests {
		methods = append(methods, req.Method)
	}
	if diff := cmp.Diff([]string{"POST", "PUT", "PATCH", "OPTIONS", "HEAD", "POST"}, methods); diff != "" {
		t.Fatalf("methods (-want +got):\n%s", diff)
	}
	first, last := got.Requests[0], got.Requests[5]
	if first.Path != "/sink/a?x=1" || first.Body != `{"n":1}` || first.JSON["n"] != 1.0 || first.Headers["X-Test"] != "yes" {
		t.Errorf("got %+v", first)
	}
	if first.Time.Before(before) || first.Time.After(time.Now().Add(time.Second)) {
		t.Errorf("time: got %v", first.Time)
	}
	if last.Body != "\x00\uFFFDplain" || last.JSON != nil {
		t.Errorf("got %+v", last)
	}
	var limited recorded
	if r.get("/sink/a?limit=1", &limited); len(limited.Requests) != 1 || limited.Requests[0].Body != last.Body {
		t.Errorf("limit: got %+v, want the last one", limited)
	}

	r.stop()
	r = startOn(t, r.settings)
	if diff := cmp.Diff(got, r.recorded("a")); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if status, _ := r.do(http.MethodDelete, "/sink/a", ""); status != http.StatusNoContent {
		t.Errorf("delete: got %d", status)
	}
	if left := r.recorded("a"); len(left.Requests) != 0 {
		t.Errorf("after DELETE: got %+v", left)
	}
}

func TestSink_refuses(t *testing.T) {
	t.Parallel()
	r := start(t)
	for path, want := range map[string]int{
		"/sink/" + strings.Repeat("x", 65): 400, "/sink/a%20b": 400, "/sink/a?status=1": 400, "/sink/a?delay=2h": 400,
	} {
		if status, body := r.do(http.MethodPost, path, "x"); status != want {
			t.Errorf("%s: got %d %s, want %d", path, status, body, want)
		}
	}
	if status, _ := r.do(http.MethodGet, "/sink/a?limit=0", ""); status != 400 {
		t.Errorf("limit 0: got %d, want 400", status)
	}
	if status, _ := r.do(http.MethodPost, "/sink/a", strings.Repeat("x", 1<<20+1)); status != 413 {
		t.Errorf("large body: got %d, want 413", status)
	}
	if got := r.recorded("a"); len(got.Requests) != 0 {
		t.Errorf("refused requests are recorded: %+v", got)
	}
}

func TestSink_shapes_its_answers(t *testing.T) {
	t.Parallel()
	r := start(t)
	statuses := func(path string, n int) (got []int) {
		t.Helper()
		for range n {
			status, _ := r.do(http.MethodPost, path, "x")
			got = append(got, status)
		}
		return got
	}
	want := func(name string, want, got []int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want("all", []int{404, 404, 404}, statuses("/sink/a?status=404", 3))
	want("twice", []int{503, 503, 200, 200}, statuses("/sink/a?status=503&times=2", 4))
	want("another path counts for itself", []int{503, 200}, statuses("/sink/a?status=503&times=1", 2))
	want("another sink counts for itself", []int{503, 503, 200}, statuses("/sink/b?status=503&times=2", 3))
	want("no content", []int{204}, statuses("/sink/b?status=204", 1))
	want("before a restart", []int{503}, statuses("/sink/c?status=503&times=2", 1))
	r.stop()
	r = startOn(t, r.settings)
	want("after a restart", []int{503, 200}, statuses("/sink/c?status=503&times=2", 2))
	r.do(http.MethodDelete, "/sink/c", "")
	want("after DELETE", []int{503, 503, 200}, statuses("/sink/c?status=503&times=2", 3))

	begin := time.Now()
	want("delayed", []int{200}, statuses("/sink/d?delay=150ms", 1))
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Errorf("delayed by %v, want 150ms", took)
	}
}

// A stop must neither wait for a long delay nor lose what was answered.
func TestSink_stop_under_load(t *testing.T) {
	t.Parallel()
	r := start(t)
	var mu sync.Mutex
	answered := map[string]bool{}
	var wg sync.WaitGroup
	enough := make(chan struct{}) // closed when a hundred are answered
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				body := fmt.Sprintf("%d/%d", worker, i)
				resp, err := http.Post(r.url+"/sink/load", "text/plain", strings.NewReader(body))
				if err != nil {
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return
				}
				mu.Lock()
				answered[body] = true
				if len(answered) == 100 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	r.stop()
	wg.Wait()
	r = startOn(t, r.settings)
	stored := map[string]bool{}
	for _, req := range r.recorded("load").Requests {
		stored[req.Body] = true
	}
	for body := range answered {
		if !stored[body] {
			t.Errorf("%s was answered and is not recorded", body)
		}
	}
}

func BenchmarkSink(b *testing.B) {
	r := start(b)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	defer client.CloseIdleConnections()
	body := `{"text":"` + strings.Repeat("x", 450) + `"}`
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(r.url+"/sink/bench", "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_ = resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
}
