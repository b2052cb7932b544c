//go:build linux

package catalogbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"workflow.uniconnect/test/stack"
)

// kind is what a request does.
type kind int

const (
	list kind = iota
	get
	create
	kinds
)

func (k kind) String() string { return [...]string{"list", "get", "create"}[k] }

// turn says what the nth request does: of five two list, two get and one creates.
func turn(n int) kind { return [...]kind{list, get, list, get, create}[n%5] }

// listQuery is what people ask a list for: the first page, a state, words of a title, another order.
func listQuery(r *rand.Rand, view string) string {
	q := url.Values{"pageSize": {"50"}, "view": {view}}
	switch r.IntN(8) {
	case 0:
		q.Set("filter", `state = "ACTIVE"`)
	case 1:
		q.Set("filter", fmt.Sprintf(`title : "%s %s"`, word(actions, r.IntN(100)), word(places, r.IntN(100))))
	case 2:
		q.Set("filter", fmt.Sprintf(`title : "%06d"`, r.IntN(100_000)))
	case 3:
		q.Set("orderBy", "title")
	case 4:
		q.Set("orderBy", "update_time desc")
	case 5:
		q.Set("filter", `trigger_type = "event" AND state = "INACTIVE"`)
	}
	return "/v1/workflows?" + q.Encode()
}

// figures are the answer times of each kind.
type figures struct {
	mu    sync.Mutex
	times [kinds][]time.Duration
	err   error
}

func (f *figures) add(k kind, took time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", k, err)
	}
	f.times[k] = append(f.times[k], took)
}

// load is who sends requests about what.
type load struct {
	client *stack.Client
	ids    []string
	view   string // of lists
	next   int    // number of the next title
}

// run sends requests at the rate for the time and returns how long each was waited for.
func (l *load) run(ctx context.Context, rate int, length time.Duration) (*figures, error) {
	f := &figures{}
	r := rand.New(rand.NewPCG(1, 2)) // a load that is the same each time
	var group sync.WaitGroup
	start, every := time.Now(), time.Second/time.Duration(rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range int(length / every) {
		due := start.Add(time.Duration(n) * every)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			group.Wait()
			return nil, ctx.Err()
		case <-timer.C:
		}
		k := turn(n)
		method, path, body := l.request(k, r)
		group.Go(func() {
			res, err := l.client.Do(ctx, method, path, body)
			if err == nil && res.Status != http.StatusOK {
				err = fmt.Errorf("status %d: %.300s", res.Status, res.Body)
			}
			f.add(k, time.Since(due), err)
		})
	}
	group.Wait()
	for i := range f.times {
		slices.Sort(f.times[i])
	}
	return f, f.err
}

func (l *load) request(k kind, r *rand.Rand) (method, path string, body any) {
	switch k {
	case get:
		return http.MethodGet, "/v1/workflows/" + l.ids[r.IntN(len(l.ids))], nil
	case create:
		l.next++
		return http.MethodPost, "/v1/workflows", workflowOf(l.next, "call.ended", "INACTIVE")
	default:
		return http.MethodGet, listQuery(r, l.view), nil
	}
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}
