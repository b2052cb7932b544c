package security

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/test/stack"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// rateLimit holds that a tenant beyond its limit is told so, by name and with a time, over both protocols, and that the other tenant is
// served meanwhile.
func (s *system) rateLimit(t *testing.T) {
	const perSecond = 20
	s.setQuota(t, perSecond)
	defer s.setQuota(t, 100_000)
	request := &workflowv1.ListWorkflowsRequest{PageSize: 1}
	s.awaitLimit(t, request)
	stopFlood := s.flood(t, request)
	for _, f := range s.faces() {
		a := f.call(t, s.userToken(t, owner), request)
		for range 100 {
			if a.refused() {
				break
			}
			a = f.call(t, s.userToken(t, owner), request)
		}
		want{codes.ResourceExhausted, 429, "RATE_LIMIT", ""}.check(t, a)
		if a.metadata["limit"] != "reads_per_second" && a.metadata["limit"] != "requests_per_second" || a.metadata["value"] != "20" || a.retry <= 0 || a.retry > 2*time.Second {
			t.Errorf("%s: got %v, come again in %v; want the limit's name and value and a time", f.name(), a.metadata, a.retry)
		}
		for range 20 {
			if b := f.call(t, s.userToken(t, foreign), request); b.refused() {
				t.Fatalf("%s: the other tenant: %v", f.name(), b.unexpected())
			}
		}
	}
	if passed := stopFlood(); passed == 0 {
		t.Error("nothing of the flood has passed")
	}
}

// awaitLimit returns when the services know of the new limit and the bucket is empty.
func (s *system) awaitLimit(t *testing.T, request message) {
	t.Helper()
	stack.Eventually(t, soon, func(context.Context) error {
		for range 200 {
			if a := s.grpc.call(t, s.userToken(t, owner), request); a.reason == "RATE_LIMIT" && a.metadata["value"] == "20" {
				return nil
			}
		}
		return errors.New("nothing is refused")
	})
}

// flood calls without pause until stopped and returns how many calls passed.
func (s *system) flood(t *testing.T, request message) func() int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	token := s.userToken(t, owner)
	var passed atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				if a := s.grpc.call(t, token, request); !a.refused() {
					passed.Add(1)
				}
			}
		})
	}
	return func() int64 {
		cancel()
		group.Wait()
		return passed.Load()
	}
}

// streams holds that a tenant cannot hold more streams open than its quota.
func (s *system) streams(t *testing.T) {
	const quota = 100 // the default
	client := workflowv1.NewWorkflowCatalogServiceClient(s.grpc.catalog)
	open := func(user string) (answer, context.CancelFunc) {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.userToken(t, user)))
		for {
			stream, err := client.WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			a := answerOf(err)
			if a.reason != "RATE_LIMIT" {
				return a, cancel
			}
			a.awaitRetry(t)
		}
	}
	for i := range quota {
		a, cancel := open(owner)
		defer cancel()
		if a.refused() {
			t.Fatalf("stream %d: %v", i+1, a.unexpected())
		}
	}
	for _, f := range s.faces() {
		a := f.call(t, s.userToken(t, owner), &workflowv1.WatchWorkflowsRequest{})
		want{codes.ResourceExhausted, 429, "QUOTA", "streams"}.check(t, a)
		if a.retry <= 0 {
			t.Errorf("%s: no time to come again", f.name())
		}
	}
	a, cancel := open(foreign)
	defer cancel()
	if a.refused() {
		t.Errorf("the other tenant: %v", a.unexpected())
	}
	if me := s.grpc.call(t, s.userToken(t, owner), &accessv1.GetMeRequest{}); me.refused() {
		t.Errorf("a call beside the streams: %v", me.unexpected())
	}
}

// slowHeader is a client that begins a request and goes on one byte at a time, so that its connection is never idle.
func (s *system) slowHeader(t *testing.T) {
	const patience = 10 * time.Second // the gateway's is half of it
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.RESTURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begin := time.Now()
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		_, err := io.WriteString(c, "GET /v1/workflows HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		for err == nil {
			<-tick.C
			_, err = io.WriteString(c, "x")
		}
	}()
	if err := c.SetReadDeadline(begin.Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open after %v", time.Since(begin))
	}
}
