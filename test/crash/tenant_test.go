package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"workflow.uniconnect/pkg/auth"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	"workflow.uniconnect/test/remains"
	"workflow.uniconnect/test/stack"
)

// tenantPhases are the places at which a service dies in the middle of the end of a tenant, in the order in which it goes through them.
func tenantPhases() []phase {
	return []phase{
		{"catalog.tenant.marked", catalog},
		{"catalog.tenant.claimed", catalog},
		{"scheduler.tenant.tombstone", scheduler},
		{"scheduler.tenant.letters", scheduler},
		{"scheduler.tenant.done", scheduler},
		{"catalog.tenant.trigger-scheduler.done", catalog},
		{"executor.tenant.tombstone", executor},
		{"executor.tenant.live", executor},
		{"executor.tenant.executions", executor},
		{"executor.tenant.starts", executor},
		{"executor.tenant.done", executor},
		{"catalog.tenant.executor.done", catalog},
		{"catalog.tenant.finalized", catalog},
		{"catalog.tenant.emptied", catalog},
		{"catalog.tenant.erased", catalog},
		{"catalog.tenant.removing", catalog},
		{"catalog.tenant.removed", catalog},
	}
}

// base begins the names of the tenants; what follows is their number. What clients call their requests is up to them, so it holds no name.
const base = "doomedtenant"

func number(name string) string { return strings.TrimPrefix(name, base) }

// ended is a tenant that comes to its end, with the one workflow that it has.
type ended struct {
	*removals
	name     string
	workflow *doomed
}

// platform is where tenants are begun and ended.
type platform struct {
	accessv1.TenantServiceClient
	token string
}

func newPlatform(t *testing.T, s *stack.Stack) *platform {
	t.Helper()
	issuer, err := auth.OpenIssuer(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{}
	if p.token, err = issuer.Issue(auth.Principal{Kind: auth.Service, Subject: "platform"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.CatalogAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.TenantServiceClient = accessv1.NewTenantServiceClient(conn)
	return p
}

func (p *platform) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.token)
}

// begin makes a tenant that has something wherever a tenant can.
func (p *platform) begin(t *testing.T, r *removals, name string) *ended {
	t.Helper()
	own := *r
	own.tenant, own.all = name, nil
	e := &ended{removals: &own, name: name}
	stack.Eventually(t, dieWithin, func(ctx context.Context) error {
		_, err := p.CreateTenant(p.as(ctx), &accessv1.CreateTenantRequest{
			Tenant: &accessv1.Tenant{Tenant: name, Title: "Doomed"}, Owner: "boss", RequestId: "begin " + number(name),
		})
		return err
	})
	issuer, err := auth.OpenIssuer(r.stack.Dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Issue(auth.Principal{Tenant: name, Subject: "boss"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	own.owner = r.stack.ClientWithToken(token)
	if _, err := r.js.Publish(t.Context(), "uniconnect.events."+name+".call.ended", []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	e.workflow = own.grow(t, "Doomed of "+name)
	stack.Eventually(t, dieWithin, func(ctx context.Context) error {
		found, err := remains.RowsNaming(ctx, r.db, name)
		for _, place := range []string{
			"catalog.tenants", "catalog.workflows", "catalog.revisions", "catalog.changes", "catalog.requests", "catalog.backups",
			"catalog.drafts", "catalog.roles", "catalog.user_roles", "catalog.modules", "catalog.tenant_gates", "catalog.audit_entries",
			"catalog.platform_requests", "scheduler.dead_letters", "executor.starts", "executor.live", "executor.executions", "executor.step_results",
		} {
			if found[place] == 0 && err == nil {
				err = fmt.Errorf("nothing of the tenant is in %s, so that its removal would prove nothing", place)
			}
		}
		return err
	})
	return e
}

// end asks for the end of a tenant. The answer is lost when the catalog dies of it.
func (p *platform) end(t *testing.T, name string) {
	t.Helper()
	_, err := p.DeleteTenant(p.as(t.Context()), &accessv1.DeleteTenantRequest{Tenant: name, Confirm: name, RequestId: "end " + number(name)})
	if err != nil && status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
}

func (p *platform) awaitGone(t *testing.T, name string) {
	t.Helper()
	stack.Eventually(t, goneWithin, func(ctx context.Context) error {
		_, err := p.GetTenant(p.as(ctx), &accessv1.GetTenantRequest{Tenant: name})
		if status.Code(err) == codes.NotFound {
			return nil
		}
		return fmt.Errorf("get answers %w", errors.Join(err, errors.New("not yet gone")))
	})
}

// remaining is what the end of a tenant leaves.
func remaining() remains.Places {
	return remains.Places{
		"catalog.tenant_tombstones": 1, "catalog.platform_audit": 1, "scheduler.tenant_tombstones": 1, "executor.tenant_tombstones": 1,
	}
}

// wantNothing holds that nothing is left but tombstones and one line.
func (e *ended) wantNothing(t *testing.T) {
	t.Helper()
	found, err := remains.RowsNaming(t.Context(), e.db, e.name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(remaining(), found); diff != "" {
		t.Errorf("what holds the name of %s (-want +got):\n%s", e.name, diff)
	}
	for _, id := range append([]string{e.workflow.ID}, e.workflow.executions...) {
		if found := e.search(t, id); len(found) > 0 {
			t.Errorf("an id of %s is still in %v", e.name, found.Names())
		}
	}
}

// wantNoMessages holds that no stream knows the tenant.
func (e *ended) wantNoMessages(t *testing.T) {
	t.Helper()
	found, err := remains.MessagesNaming(t.Context(), e.js, e.name)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Errorf("messages of %s are in %v", e.name, found)
	}
}

// TestTenant_end kills a service at every phase of the end of a tenant. Whatever the phase, it finishes once the service is back. Then no table
// and no stream knows the tenant but for tombstones and one line, and nothing that comes late brings anything back.
func TestTenant_end(t *testing.T) {
	r := newRemovals(t)
	p := newPlatform(t, r.stack)
	var all []*ended
	for i, phase := range tenantPhases() {
		t.Run(phase.point, func(t *testing.T) {
			e := p.begin(t, r, fmt.Sprint(base, 10+i))
			victim := phase.victim(r.stack)
			r.begin(t, victim, phase.point)
			all = append(all, e)
			stack.Eventually(t, dieWithin, func(ctx context.Context) error { // the catalog may just be coming back
				_, err := p.GetTenant(p.as(ctx), &accessv1.GetTenantRequest{Tenant: e.name})
				return err
			})
			p.end(t, e.name)
			r.awaitKilled(t, victim)
			if _, err := r.db.Exec(t.Context(), `UPDATE catalog.tenants SET finalize_at = clock_timestamp() WHERE state = 3`); err != nil {
				t.Fatal(err)
			}
			if err := victim.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.awaitGone(t, e.name)
			e.wantNothing(t)
			e.wantNoMessages(t)
		})
	}
	if t.Failed() {
		return
	}
	t.Run("what_comes_late", func(t *testing.T) { lateForTenant(t, r, p, all[0]) })
	t.Run("search_can_fail", func(t *testing.T) {
		if _, err := r.js.Publish(t.Context(), "uniconnect.events."+all[1].name+".custom.left.over", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		if found, err := remains.MessagesNaming(t.Context(), r.js, all[1].name); err != nil || found["stream UNICONNECT_EVENTS"] != 1 {
			t.Errorf("what was left in the stream is not found: %v, %v", found, err)
		}
	})
}

// lateForTenant lets everything come that could bring a tenant back: events that its workflow matched and such as would be set aside, a start
// that was sent before, calls with an old token, and the tenant's name for another.
func lateForTenant(t *testing.T, r *removals, p *platform, e *ended) {
	before := r.calls()
	e.publish(t, e.workflow, "end")
	if _, err := r.js.Publish(t.Context(), "uniconnect.events."+e.name+".call.ended", []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	r.redeliver(t)
	e.startAgain(t, e.workflow)
	for _, path := range []string{"/v1/workflows/" + e.workflow.ID, "/v1/workflows", "/v1/executions", "/v1/access/me"} {
		res, err := e.do(t.Context(), http.MethodGet, path, "", nil)
		if err != nil || res.Status != http.StatusForbidden {
			t.Errorf("GET %s with an old token: got %+v, %v; want 403", path, res, err)
		}
	}
	if res, err := e.do(t.Context(), http.MethodPost, "/v1/workflows", "late", e.config(e.workflow)); err != nil || res.Status != http.StatusForbidden {
		t.Errorf("a workflow with an old token: got %+v, %v; want 403", res, err)
	}
	_, err := p.CreateTenant(p.as(t.Context()), &accessv1.CreateTenantRequest{Tenant: &accessv1.Tenant{Tenant: e.name, Title: "Again"}, Owner: "boss"})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("the name again: got %v", err)
	}
	again, err := p.DeleteTenant(p.as(t.Context()), &accessv1.DeleteTenantRequest{Tenant: e.name, Confirm: e.name, RequestId: "end " + number(e.name)})
	if err != nil || again.GetTenant().GetState() != accessv1.Tenant_DELETING {
		t.Errorf("the deletion again: got %v, %v", again, err)
	}
	stream, err := p.ExportTenant(p.as(t.Context()), &accessv1.ExportTenantRequest{Tenant: e.name})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.NotFound || errors.Is(err, io.EOF) {
		t.Errorf("the export: got %v", err)
	}
	e.wantNothing(t)
	if path := e.workflow.path("end"); r.calls()[path] > before[path] {
		t.Errorf("%s was called after its tenant was gone", path)
	}
}
