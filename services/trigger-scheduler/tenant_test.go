package scheduler

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"workflow.uniconnect/pkg/auth"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/bus"
)

// TestService_FinalizeTenant holds that a deleted tenant leaves nothing here, that what is published later is dropped, and that another
// tenant, whose name begins alike, keeps what it has.
func TestService_FinalizeTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	r := b.start()
	client := peerv1.NewTenantDataServiceClient(b.dial(r, auth.Principal{Subject: "workflow-catalog", Kind: auth.Service}))
	bad := func(tenant string, n int) {
		for i := range n {
			subject := fmt.Sprintf("uniconnect.events.%s.call.ended", tenant)
			if _, err := b.js.Publish(t.Context(), subject, fmt.Appendf(nil, "no JSON %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		b.drained()
	}
	letters := func(tenant string) int {
		stream, err := client.ExportTenant(t.Context(), &peerv1.ExportTenantRequest{Tenant: tenant})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			doc, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return n
			}
			if err != nil || doc.GetKind() != "deadLetter" || len(doc.GetDocument()) == 0 {
				t.Fatalf("document %v: %v", doc, err)
			}
		}
	}
	messages := func() uint64 {
		stream, err := b.js.Stream(t.Context(), bus.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}

	b.publish("e1", `{}`)
	bad("acme", 230)
	bad("acmes", 3)
	if got := letters("acme"); got != 230 {
		t.Fatalf("%d letters exported, want 230", got)
	}
	for range 2 {
		resp, err := client.FinalizeTenant(t.Context(), &peerv1.FinalizeTenantRequest{Tenant: "acme"})
		if err != nil || !resp.GetDone() {
			t.Fatalf("got %v, %v; want done", resp, err)
		}
	}
	if got := r.index.Len(); got != 0 {
		t.Errorf("%d workflows in the index", got)
	}
	if got := messages(); got != 3 {
		t.Errorf("%d messages in the stream, want those of the other tenant", got)
	}
	bad("acme", 2)
	b.publish("late", `{}`)
	b.drained()
	if mine, others := letters("acme"), letters("acmes"); mine != 0 || others != 3 {
		t.Errorf("letters: %d of the deleted tenant, %d of the other; want 0 and 3", mine, others)
	}
	if got := b.executor.runs["w/late"]; got != 0 {
		t.Errorf("a late event started %d times", got)
	}
}
