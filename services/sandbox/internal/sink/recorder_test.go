package sink_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

// slowStore keeps batches, and lets each be stored when the test says so.
type slowStore struct {
	sink.Store
	release chan error
	batches [][]string
	trimmed []string
}

func (s *slowStore) Append(_ context.Context, requests []sink.Request) error {
	var paths []string
	for _, r := range requests {
		paths = append(paths, r.Path)
	}
	s.batches = append(s.batches, paths)
	return <-s.release
}

func (s *slowStore) Trim(_ context.Context, name string, _ int) error {
	s.trimmed = append(s.trimmed, name)
	return nil
}

func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{release: make(chan error)}
		recorder := sink.NewRecorder(store, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- recorder.Run(ctx) }()

		answers := make(map[string]chan error)
		record := func(path string) {
			answers[path] = make(chan error, 1)
			go func() { answers[path] <- recorder.Record(t.Context(), sink.Request{Name: "a", Path: path}) }()
			synctest.Wait()
		}
		want := func(path string, want error) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-answers[path]:
				if !errors.Is(got, want) {
					t.Errorf("%s: got %v, want %v", path, got, want)
				}
			default:
				t.Errorf("%s has no answer", path)
			}
		}

		record("1")
		record("2") // while 1 is being written
		record("3")
		if len(answers["1"]) != 0 {
			t.Error("1 was answered before it was stored")
		}
		store.release <- nil
		want("1", nil)
		failure := errors.New("away")
		record("4")
		store.release <- failure // of 2 and 3
		want("2", failure)
		want("3", failure)

		record("5")
		cancel() // while 4 is being written and 5 waits
		synctest.Wait()
		store.release <- nil
		store.release <- nil
		want("4", nil)
		want("5", nil)
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		late := recorder.Record(t.Context(), sink.Request{Name: "a", Path: "late"})
		if fault.KindOf(late) != fault.KindUnavailable {
			t.Errorf("after the end: got %v, want unavailable", late)
		}
		if diff := cmp.Diff([][]string{{"1"}, {"2", "3"}, {"4"}, {"5"}}, store.batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
	})
}

func TestRecorder_trims_what_has_grown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{release: make(chan error)}
		close(store.release) // every batch is stored at once
		recorder := sink.NewRecorder(store, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- recorder.Run(ctx) }()
		for range sink.Keep/10 + 1 {
			if err := recorder.Record(t.Context(), sink.Request{Name: "busy"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := recorder.Record(t.Context(), sink.Request{Name: "quiet"}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"busy"}, store.trimmed); diff != "" {
			t.Errorf("trimmed (-want +got):\n%s", diff)
		}
	})
}
