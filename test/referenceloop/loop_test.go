package referenceloop_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/natstest"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/test/referenceloop"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestLoop_goesRoundOnce(t *testing.T) {
	const runs = 2000
	var mu sync.Mutex
	posts := make(map[string]int)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read post: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		posts[string(body)]++
	}))
	defer target.Close()
	url := pgtest.New(t, nil)
	conn := natstest.New(t).Connect()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	loopCtx, stop := context.WithCancel(ctx)
	go func() { ended <- referenceloop.New(conn, pgtest.Open(t, url, "public"), target.URL).Run(loopCtx) }()
	for conn.NumSubscriptions() == 0 {
		select {
		case err := <-ended:
			t.Fatalf("the loop ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}

	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for i := worker; i < runs; i += 64 {
				text, err := referenceloop.Encode(fmt.Sprintf("run-%d", i), []byte(`{"n":1}`))
				if err == nil {
					_, err = conn.RequestWithContext(ctx, referenceloop.Subject, text)
				}
				if err != nil {
					t.Errorf("trigger %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	for got := 0; got < runs; {
		if got, err = referenceloop.Ended(ctx, db); err != nil {
			t.Fatalf("%d of %d runs ended: %v", got, runs, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the loop ended with %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(posts) != runs {
		t.Errorf("%d different posts came, want %d", len(posts), runs)
	}
	for body, n := range posts {
		if n != 1 {
			t.Errorf("%d posts of %s, want 1", n, body)
		}
	}
}
