package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/test/remains"
	"workflow.uniconnect/test/stack"
)

// A deleted workflow leaves nothing behind and cannot come back.
func deletion(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{}), object{"id": "rest", "delay": object{"duration": "3600s"}}))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitCall(t, p, 1)
	var executions []string
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct{ Executions []executionView }
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/workflows/"+w.ID+"/executions", nil, &list); err != nil {
			return err
		}
		if len(list.Executions) != 1 || list.Executions[0].State != "WAITING" {
			return fmt.Errorf("executions: %+v, want one that waits", list.Executions)
		}
		executions = []string{list.Executions[0].ID}
		return nil
	})

	preview := s.deletePreview(t, w.ID)
	if preview.Title != w.Title || preview.Etag != w.Etag || preview.UnfinishedExecutions != 1 || preview.Revisions != 1 || preview.Backups != 0 || preview.Draft {
		t.Errorf("preview: got %+v, want %q with its etag, one run and one revision", preview, w.Title)
	}
	if len(preview.WaitingExecutions) != 1 || preview.WaitingExecutions[0].ID != executions[0] || preview.WaitingExecutions[0].StepPath != "rest" ||
		time.Until(preview.WaitingExecutions[0].WakeTime) < 50*time.Minute {
		t.Errorf("preview: waiting runs %+v, want %s for an hour at the step rest", preview.WaitingExecutions, executions[0])
	}

	res, err := s.owner.Do(t.Context(), http.MethodDelete, "/v1/workflows/"+w.ID+"?confirm=another+title", nil)
	if err != nil || res.Status != http.StatusBadRequest {
		t.Errorf("delete with another title: %v, %+v; want 400", err, res)
	}
	res, err = s.owner.Do(t.Context(), http.MethodDelete, "/v1/workflows/"+w.ID+"?etag=999", nil)
	if err != nil || res.Status != http.StatusConflict {
		t.Errorf("delete of another version: %v, %+v; want 409", err, res)
	}
	var gone workflowView
	request := "/v1/workflows/" + w.ID + "?etag=" + preview.Etag + "&confirm=" + url.QueryEscape(preview.Title)
	if err := s.owner.Call(t.Context(), http.MethodDelete, request, nil, &gone); err != nil {
		t.Fatal(err)
	}
	if gone.State != "DELETING" {
		t.Errorf("the answer shows the workflow %s, want DELETING", gone.State)
	}
	// The title is free at once.
	again := onCall(call+" again", s.post("tell", path(), object{}))
	again["title"] = w.Title
	if successor := s.create(t, again); successor.ID == w.ID {
		t.Error("a new workflow has the id of the deleted one")
	}
	stack.Eventually(t, soon, func(ctx context.Context) error {
		res, err := s.owner.Do(ctx, http.MethodGet, "/v1/workflows/"+w.ID, nil)
		if err == nil && res.Status != http.StatusNotFound {
			err = fmt.Errorf("get answers %d", res.Status)
		}
		return err
	})
	for _, under := range []string{":deletePreview", "/revisions", "/executions"} {
		res, err := s.owner.Do(t.Context(), http.MethodGet, "/v1/workflows/"+w.ID+under, nil)
		if err != nil || res.Status != http.StatusNotFound && (res.Status != http.StatusOK || strings.Contains(string(res.Body), w.ID)) {
			t.Errorf("%s of what is gone: %v, %+v", under, err, res)
		}
	}
	want := remains.Places{"catalog.tombstones": 1, "executor.tombstones": 1}
	if diff := cmp.Diff(want, s.remains(t, w.ID)); diff != "" {
		t.Errorf("what holds the workflow's id (-want +got):\n%s", diff)
	}
	if found := s.remains(t, executions[0]); len(found) > 0 {
		t.Errorf("its execution is still in %v", found.Names())
	}
	// A late event finds nothing to start.
	other := path()
	witness := s.create(t, onCall(call, s.post("tell", other, object{})))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitEnd(t, witness.ID, 1)
	if n := s.counted(p); n != 1 {
		t.Errorf("the deleted workflow called its target %d times, want once, before it was deleted", n)
	}
	if diff := cmp.Diff(want, s.remains(t, w.ID)); diff != "" {
		t.Errorf("what holds the workflow's id after a late event (-want +got):\n%s", diff)
	}
}

// deletePreview is what a person sees before deciding.
func (s *system) deletePreview(t *testing.T, id string) deletePreview {
	t.Helper()
	var p deletePreview
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/workflows/"+id+":deletePreview", nil, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

type deletePreview struct {
	Title, Etag          string
	UnfinishedExecutions int
	WaitingExecutions    []struct {
		ID, StepPath string
		WakeTime     time.Time
	}
	Revisions, Backups int
	Draft              bool
}

// remains returns every place that holds an id but for the audit, which may.
func (s *system) remains(t *testing.T, id string) remains.Places {
	t.Helper()
	found, err := remains.Rows(t.Context(), s.db, id)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := remains.Messages(t.Context(), s.js, id)
	if err != nil {
		t.Fatal(err)
	}
	found.Add(messages)
	delete(found, "catalog.audit_entries")
	return found
}
