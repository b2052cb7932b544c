package grpcserver_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// A service that the settings let act for all tenants names the tenant of each call; nobody else can.
func TestServer_tenant_that_a_call_names(t *testing.T) {
	dir := t.TempDir()
	issuer, err := auth.OpenIssuer(dir)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: dir, Grants: map[string][]string{"crm": {"workflow.view"}}})
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{"acme": true, "globex": false}
	e := start(t, &handlers{}, func(o *grpcserver.Options) {
		o.Verifier = verifier
		o.Enforcer = access.NewEnforcer(access.Options{Module: "workflow", Grants: func(_ context.Context, p auth.Principal) (access.Grants, error) {
			everything := map[string]struct{}{"workflow.view": {}, "workflow.create": {}, "workflow.delete": {}}
			return access.Grants{ModuleEnabled: open[p.Tenant], TenantClosed: p.Tenant == "gone", Permissions: everything}, nil
		}})
	})
	client := workflowv1.NewWorkflowCatalogServiceClient(e.dial(t, nil))
	get := func(ctx context.Context) error {
		_, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: "00000000-0000-7000-8000-000000000000"})
		return err
	}
	remove := func(ctx context.Context) error {
		_, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: "00000000-0000-7000-8000-000000000000"})
		return err
	}
	crm := auth.Principal{Subject: "crm", Kind: auth.Client}
	cases := map[string]struct {
		who     auth.Principal
		tenants []string
		call    func(context.Context) error
		kind    fault.Kind
		reason  fault.Reason
	}{
		"granted":              {crm, []string{"acme"}, get, fault.KindUnimplemented, ""}, // passed: the test serves nothing there
		"not_granted":          {crm, []string{"acme"}, remove, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"no_tenant":            {crm, nil, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"two_tenants":          {crm, []string{"acme", "globex"}, get, fault.KindInvalidArgument, fault.ReasonInvalidFields},
		"no_name":              {crm, []string{"a.b"}, get, fault.KindInvalidArgument, fault.ReasonInvalidFields},
		"module_off":           {crm, []string{"globex"}, get, fault.KindPermissionDenied, fault.ReasonModuleDisabled},
		"tenant_gone":          {crm, []string{"gone"}, get, fault.KindPermissionDenied, fault.ReasonTenantState},
		"service_not_listed":   {auth.Principal{Subject: "pbx", Kind: auth.Client}, []string{"acme"}, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"service_of_a_tenant":  {auth.Principal{Subject: "crm", Tenant: "globex", Kind: auth.Client}, []string{"acme"}, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"user":                 {auth.Principal{Subject: "crm", Tenant: "globex"}, []string{"acme"}, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"user_of_that_tenant":  {auth.Principal{Subject: "u", Tenant: "acme"}, []string{"acme"}, get, fault.KindUnimplemented, ""},
		"our_own_service":      {auth.Principal{Subject: "executor", Kind: auth.Service}, []string{"acme"}, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
		"listed_as_if_our_own": {auth.Principal{Subject: "crm", Kind: auth.Service}, []string{"acme"}, get, fault.KindPermissionDenied, fault.ReasonPermissionMissing},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			token, err := issuer.Issue(c.who, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ctx := withToken(t.Context(), token)
			for _, tenant := range c.tenants {
				ctx = metadata.AppendToOutgoingContext(ctx, auth.TenantKey, tenant)
			}
			err = c.call(ctx)
			f, ok := fault.As(err)
			if !ok || f.Kind != c.kind || c.reason != "" && f.Reason != c.reason {
				t.Errorf("got %v, want %v %s", err, c.kind, c.reason)
			}
		})
	}
}
