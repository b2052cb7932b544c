package grpcapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"google.golang.org/grpc"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/grpcapi"
)

// history is a tenant's executions, newest first. Of those that are gone the list knows, and nothing else.
type history struct {
	views []execution.View
	gone  map[execution.ID]bool
}

func (h *history) List(_ context.Context, _ string, _ execution.WorkflowID, below execution.ID, limit int) ([]execution.View, bool, error) {
	var page []execution.View
	for _, v := range h.views {
		if bytes.Compare(v.ID[:], below[:]) >= 0 {
			continue
		}
		if len(page) == limit {
			return page, true, nil
		}
		page = append(page, v)
	}
	return page, false, nil
}

func (h *history) Get(_ context.Context, _ string, id execution.ID) (execution.View, bool, error) {
	for _, v := range h.views {
		if v.ID == id && !h.gone[id] {
			return v, true, nil
		}
	}
	return execution.View{}, false, nil
}

// documents gathers what is streamed.
type documents struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*peerv1.ExportTenantResponse
}

func (d *documents) Context() context.Context { return d.ctx }

func (d *documents) Send(r *peerv1.ExportTenantResponse) error {
	d.sent = append(d.sent, r)
	return nil
}

func TestTenants_ExportTenant(t *testing.T) {
	h := &history{gone: map[execution.ID]bool{}}
	for n := byte(250); n > 0; n-- {
		h.views = append(h.views, view(n, `{"data":{"n":1}}`))
	}
	h.gone[h.views[7].ID] = true
	out := &documents{ctx: t.Context()}
	if err := grpcapi.NewTenants(h, nil).ExportTenant(&peerv1.ExportTenantRequest{Tenant: "acme"}, out); err != nil {
		t.Fatal(err)
	}
	if len(out.sent) != 249 {
		t.Fatalf("%d documents, want 249", len(out.sent))
	}
	seen := make(map[string]bool)
	for _, d := range out.sent {
		var e struct {
			ID    string
			Input map[string]any
		}
		if err := json.Unmarshal(d.GetDocument(), &e); err != nil || d.GetKind() != "execution" || e.Input["n"] != 1.0 || seen[e.ID] {
			t.Fatalf("document %s %s: %v", d.GetKind(), d.GetDocument(), err)
		}
		seen[e.ID] = true
	}
}
